import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Platform, PlatformRequest, Reception } from 'dazi/platform'
import { createAnswering, type Answering, type News } from '../src/chat/answering'
import { createSession, type LoginApi } from '../src/chat/session'
import { createStore, type Flight, type Storage } from '../src/chat/store'

interface Sent extends PlatformRequest {
  reception: Reception
}

const STARTED = { type: 'started', generation: 'g1', model: 'm', created: 1 }
const DONE = { type: 'done', finish_reason: 'stop', n: 2 }

/** A phone on which a test says what the gateway answers. */
function createPhone(token = 'development') {
  const kept: Record<string, unknown> = {}
  const sent: Sent[] = []
  let logins = 0
  const storage: Storage = {
    getStorageSync: (key) => JSON.parse(JSON.stringify(kept[key] || '')),
    setStorageSync: (key, value) => void (kept[key] = value),
    removeStorageSync: (key) => void delete kept[key],
  }
  const wx: LoginApi = {
    ...storage,
    login: ({ success }) => success({ code: `code-${++logins}` }),
    request: ({ data, success }) => success({ statusCode: 200, data: { token: `session-${JSON.stringify(data)}`, expires_in: 7200 } }),
  }
  const platform: Platform = {
    streams: true,
    clock: { now: () => 0, later: () => () => {} },
    send: (request, reception) => (sent.push({ ...request, reception }), () => {}),
    watchVisibility: () => () => {},
  }
  const news: News[] = []
  const ends: [Flight, News][] = []
  const store = createStore(storage)
  const answering = createAnswering({
    gateway: 'https://gateway', model: '', platform, store,
    session: createSession(wx, { gateway: 'https://gateway', token }),
    onNews: (_, said) => void news.push(said),
    onEnd: (flight, said) => void ends.push([flight, said]),
  })
  return { answering, store, sent, news, ends }
}

function say(sent: Sent, ...events: object[]): void {
  events.forEach((event, index) => sent.reception.chunk(`id: 1-${index + 1}\ndata: ${JSON.stringify(event)}\n\n`))
}

const soon = () => new Promise((resolve) => setTimeout(resolve, 0))

async function ask(answering: Answering): Promise<void> {
  answering.ask('c', 'm', [{ role: 'user', content: '问' }])
  await soon()
}

test('an answer is followed to its end, and its flight is kept until then', async () => {
  const { answering, store, sent, news, ends } = createPhone()
  await ask(answering)
  assert.equal(sent[0].headers.Authorization, 'Bearer development')
  assert.ok(store.flight('c'), 'a question that was just asked is not forgotten')
  say(sent[0], STARTED, { type: 'text', text: '你', n: 1 })
  assert.equal(store.flight('c')?.generation, 'g1')
  say(sent[0], STARTED, { type: 'text', text: '你', n: 1 }, { type: 'text', text: '好', n: 2 }, DONE)
  assert.deepEqual([...new Set(news.map(({ text }) => text))], ['', '你', '你好'])
  assert.deepEqual(ends.map(([, said]) => said), [{ text: '你好', state: 'done' }])
  assert.equal(store.flight('c'), undefined)
})

test('another life goes on where this one was', async () => {
  const first = createPhone()
  await ask(first.answering)
  say(first.sent[0], STARTED, { type: 'text', text: '你', n: 1 })
  first.answering.keep()
  const second = createPhone()
  second.answering.resume(first.store.flight('c')!)
  await soon()
  assert.match(second.sent[0].url, /\/v1\/generations\/g1\/events\?.*after=1-2/)
  second.sent[0].reception.chunk(`id: 1-3\ndata: ${JSON.stringify({ type: 'text', text: '好', n: 2 })}\n\n`)
  assert.equal(second.news[second.news.length - 1].text, '你好')
})

test('a question whose generation was never told is asked again, under its key', async () => {
  const first = createPhone()
  await ask(first.answering)
  const second = createPhone()
  second.answering.resume(first.store.flight('c')!)
  await soon()
  assert.equal(second.sent[0].method, 'POST')
  assert.equal(second.sent[0].headers['Idempotency-Key'], first.sent[0].headers['Idempotency-Key'])
  assert.equal(second.sent[0].body, first.sent[0].body)
})

test('a session that has expired is renewed once, and the question asked again under its key', async () => {
  const { answering, sent, ends } = createPhone('')
  await ask(answering)
  const expired = { type: 'error', code: 'session_expired', message: '', retryable: false }
  say(sent[0], expired)
  await soon()
  assert.notEqual(sent[1].headers.Authorization, sent[0].headers.Authorization)
  assert.equal(sent[1].headers['Idempotency-Key'], sent[0].headers['Idempotency-Key'])
  say(sent[1], expired)
  await soon()
  assert.equal(sent.length, 2, 'it is not renewed for ever')
  assert.equal(ends[0][1].code, 'session_expired')
})

test('stopping tells the gateway, and what was said stands', async () => {
  const { answering, store, sent, ends } = createPhone()
  await ask(answering)
  say(sent[0], STARTED, { type: 'text', text: '你', n: 1 })
  answering.stop()
  assert.match(sent[1].url, /\/v1\/generations\/g1\/abort$/)
  assert.deepEqual(ends.map(([, said]) => said), [{ text: '你', state: 'aborted' }])
  assert.equal(store.flight('c'), undefined)
})

test('stopping before the log-in is over asks nothing', async () => {
  const { answering, sent, ends } = createPhone('')
  answering.ask('c', 'm', [{ role: 'user', content: '问' }])
  answering.stop()
  await soon()
  assert.deepEqual([sent.length, ends[0][1].state], [0, 'aborted'])
})

test('an answer in another conversation leaves the first to be taken up again', async () => {
  const { answering, store, sent } = createPhone()
  await ask(answering)
  say(sent[0], STARTED, { type: 'text', text: '你', n: 1 })
  answering.ask('d', 'n', [{ role: 'user', content: '问' }])
  await soon()
  assert.equal(store.flight('c')?.generation, 'g1')
  assert.equal(answering.flight()?.conversation, 'd')
})

test('what only the line has lost can be taken up again', async () => {
  const { answering, store, sent, ends } = createPhone()
  await ask(answering)
  say(sent[0], STARTED, { type: 'text', text: '你', n: 1 }, { type: 'error', code: 'connection_lost', message: '', retryable: false })
  assert.deepEqual([ends[0][1].state, ends[0][1].text, answering.flight()], ['failed', '你', undefined])
  answering.resume(store.flight('c')!)
  await soon()
  assert.match(sent[1].url, /\/v1\/generations\/g1\/events\?.*after=1-2/)
})
