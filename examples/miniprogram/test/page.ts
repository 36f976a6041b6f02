/** A page for components, by WeChat's own engine (`miniprogram-simulate`) in jsdom. */

import { join } from 'node:path'

// Neither has types.
const { JSDOM } = require('jsdom')

const NAMES = ['document', 'Node', 'HTMLElement', 'Event', 'CustomEvent', 'requestAnimationFrame', 'cancelAnimationFrame']

const { window } = new JSDOM('<!doctype html><body></body>', { pretendToBeVisual: true })
Object.assign(globalThis, { window, ...Object.fromEntries(NAMES.map((name) => [name, window[name]])) })

// Later than the names above, which it looks for when it is loaded.
const simulate = require('miniprogram-simulate')

export interface Drawn {
  /** The component's own `this`. */
  instance: any // any: a component's methods are its own
  /** What a person reads. */
  text(): string
  find(selector: string): any
  /** Every `setData`, as JSON. */
  patches: string[]
  /** Names of the events it has triggered. */
  events: string[]
  remove(): void
}

/** Draw a component of dist/, with its properties. */
export function draw(name: string, properties: object = {}): Drawn {
  const id = simulate.load(join(__dirname, '../dist/components', name, 'index'), { compiler: 'simulate' })
  const component = simulate.render(id, properties)
  const parent = window.document.createElement('div')
  const patches: string[] = []
  const events: string[] = []
  const { setData, triggerEvent } = component.instance
  component.instance.setData = function (patch: object, then?: () => void) {
    patches.push(JSON.stringify(patch))
    setData.call(this, patch, then)
  }
  component.instance.triggerEvent = function (event: string, detail?: object) {
    events.push(event)
    triggerEvent.call(this, event, detail)
  }
  component.attach(parent)
  return {
    instance: component.instance, patches, events,
    text: () => parent.textContent || '',
    find: (selector) => component.querySelector(selector),
    remove: () => component.detach(),
  }
}

export async function until(claim: () => boolean): Promise<void> {
  for (const begin = Date.now(); !claim(); await new Promise((resolve) => setTimeout(resolve, 10))) {
    if (Date.now() - begin > 10_000) throw new Error(`It did not come true: ${claim}`)
  }
}
