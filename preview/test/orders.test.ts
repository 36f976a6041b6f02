/**
 * In which order the base library calls a component, by its older engine (npm `miniprogram-simulate`). The same is asked of the
 * preview in tests/miniprogram/test_parts.py.
 */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const PROBE = fileURLToPath(new URL('fixture/components/probe/probe', import.meta.url))
const ORDERS = JSON.parse(readFileSync(new URL('orders.json', import.meta.url), 'utf8')) as string[]
const BORROWED = [
  'window',
  'document',
  'HTMLElement',
  'Node',
  'Event',
  'CustomEvent',
  'MutationObserver',
  'getComputedStyle',
  'requestAnimationFrame',
]

// Neither package has types of its own; this is as much as is used.
interface Simulate {
  load(path: string, options: { compiler: 'simulate' }): string
  render(id: string, properties: object): { instance: { act(): void; noted: string[] }; attach(parent: unknown): void; detach(): void }
}

test('a component is called in the order that is written down', async () => {
  const { JSDOM } = require('jsdom') as {
    JSDOM: new (html: string, options: object) => { window: Record<string, unknown> & { document: Document } }
  }
  const { window } = new JSDOM('<!doctype html><body></body>', { pretendToBeVisual: true })
  for (const name of BORROWED) Object.assign(globalThis, { [name]: name === 'window' ? window : window[name] })
  const simulate = require('miniprogram-simulate') as Simulate
  const component = simulate.render(simulate.load(PROBE, { compiler: 'simulate' }), { text: 'x', count: 3 })
  component.attach(window.document.body)
  component.instance.act()
  for (let turns = 0; !component.instance.noted.includes('called back') && turns < 100; turns += 1)
    await new Promise((resolve) => setTimeout(resolve, 10))
  component.detach()
  assert.deepEqual(component.instance.noted, ORDERS)
})
