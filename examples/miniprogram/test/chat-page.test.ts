import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { faultOf, readSettings, writeSettings } from '../src/chat/settings'
import { tellError, tellRemedy, tellTime } from '../src/chat/words'
import { GATEWAY } from '../src/config'
import { createScrolling } from '../src/pages/chat/scrolling'

test('every code of the protocol has its words', () => {
  const protocol = readFileSync(join(__dirname, '../../../PROTOCOL.md'), 'utf8')
  const failed = protocol.slice(protocol.indexOf('### 4.1'), protocol.indexOf('## 5.')).matchAll(/^\| `(\w+)` \|/gm)
  const refused = protocol.slice(protocol.indexOf('## 6.'), protocol.indexOf('## 7.')).matchAll(/^\| \d{3} \| (.*) \|$/gm)
  const codes = [...[...failed].map(([, code]) => code), ...[...refused].flatMap(([, row]) => [...row.matchAll(/`(\w+)`/g)].map(([, code]) => code))]
  assert.ok(codes.length > 40)
  const missing = [...codes, 'connection_lost', 'login_failed'].filter((code) => tellError(code).includes(code))
  assert.deepEqual(missing, [], 'src/chat/words.ts should have words for these')
  assert.match(tellError('http_418'), /http_418/)
})

test('a tap does what the words say', () => {
  const words: Record<string, RegExp> = { edit: /改短|换个问法|拆小/, new: /新建对话/, resume: /重新连接/ }
  for (const [code, remedy] of [['prompt_refused', 'edit'], ['too_long', 'edit'], ['body_too_large', 'new'], ['connection_lost', 'resume']]) {
    assert.equal(tellRemedy(code).remedy, remedy)
    assert.match(tellError(code), words[remedy])
  }
  assert.deepEqual(tellRemedy('upstream_error'), { remedy: 'again', word: '再问一次' })
  assert.deepEqual(tellRemedy('tokens_used_up'), { remedy: '', word: '' }, 'what is of no use is not offered')
})

test('times are told as people say them', () => {
  const now = new Date(2026, 4, 3, 15, 30).getTime()
  assert.equal(tellTime(new Date(2026, 4, 3, 9, 5).getTime(), now), '9:05')
  assert.equal(tellTime(new Date(2026, 4, 2, 23, 59).getTime(), now), '昨天 23:59')
  assert.equal(tellTime(new Date(2026, 3, 1).getTime(), now), '4月1日')
  assert.equal(tellTime(new Date(2025, 11, 31).getTime(), now), '2025年12月31日')
})

test('a shipped program knows no settings', () => {
  const kept: Record<string, unknown> = {}
  const storage = { getStorageSync: (key: string) => kept[key] || '', setStorageSync: (key: string, value: unknown) => void (kept[key] = value), removeStorageSync() {} }
  writeSettings(storage, { gateway: ' https://test.example.com/ ', token: ' t ', model: '' })
  assert.deepEqual(readSettings(storage, true), { gateway: 'https://test.example.com', token: 't', model: '' })
  assert.equal(readSettings(storage, false).gateway, GATEWAY)
})

test('an address that is none is told', () => {
  assert.equal(faultOf('http://127.0.0.1:8000'), '')
  for (const wrong of ['', 'chat.example.com', 'wss://chat.example.com', 'https://']) assert.match(faultOf(wrong), /https/)
})

/** A list of 500 px, 300 px of which are seen. */
function createList() {
  const list = { height: 500, top: 0, isAway: false }
  const scrolling = createScrolling((top) => { list.top = Math.min(top, list.height - 300); hear() }, (isAway) => (list.isAway = isAway))
  const hear = () => scrolling.scrolled({ scrollTop: list.top, scrollHeight: list.height }, 300)
  const grow = (by: number) => { list.height += by; scrolling.grow() }
  const drag = (by: number) => { list.top = Math.max(0, Math.min(list.top + by, list.height - 300)); hear() }
  return { list, scrolling, grow, drag }
}

test('the list follows its end, until the reader scrolls up', () => {
  const { list, grow, drag } = createList()
  for (let line = 0; line < 20; line++) grow(24)
  assert.equal(list.top, list.height - 300)
  for (let pull = 0; pull < 10; pull++) drag(-10)
  assert.ok(list.isAway)
  const before = list.top
  for (let line = 0; line < 20; line++) grow(24)
  assert.equal(list.top, before, 'who reads above is left alone')
})

test('who is back at the end follows again, by hand or by the button', () => {
  const { list, scrolling, grow, drag } = createList()
  grow(1000)
  drag(-400)
  drag(400)
  assert.ok(!list.isAway)
  drag(-400)
  scrolling.toEnd()
  assert.ok(!list.isAway)
  grow(24)
  assert.equal(list.top, list.height - 300)
})

test('a tremor is no scrolling', () => {
  const { list, grow, drag } = createList()
  grow(1000)
  drag(-30)
  assert.ok(!list.isAway)
})
