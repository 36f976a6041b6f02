/** The program as a whole, and what it throws. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createApplication } from '../src/runtime/app.js'

test('what the app throws is told, and the program goes on', () => {
  const told: unknown[] = []
  const application = createApplication((error) => told.push((error as Error).message))
  const stumble = (word: string) => () => {
    throw new Error(word)
  }
  application.define({ onLaunch: stumble('launch'), onShow: stumble('show') })
  application.listen('Show', stumble('listener'))
  application.listen('Show', (scene) => told.push(scene))
  application.launch({ path: 'p', query: {}, scene: 1001, shareTicket: undefined, referrerInfo: {} })
  application.tell('Show', 7)
  assert.deepEqual(told, ['launch', 'show', 'listener', 7])
})
