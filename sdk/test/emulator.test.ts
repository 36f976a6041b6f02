/** Each quirk of the emulator, by a client that does not know of it and fails because of it. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { PROFILES } from '../emulator/index.js'
import { createSseParser } from '../src/sse.js'
import { createUtf8Decoder } from '../src/utf8.js'
import { dataOf, eventsOf, naive, open, phone, reasonOf, seen, settle, STREAM, TEXT, until, urlOf } from './emulator-naive.js'

test('on a calm network, uncut, the naive client is right: what fails below, fails because of the quirk', async (context) => {
  const client = naive(phone(context, {}), '/stream')
  await client.ending
  assert.deepEqual([client.text, client.statuses], [TEXT, [200]])
})

for (const cut of ['bytes', 'random'] as const) {
  test(`chunks cut, ${cut}: a decoder for each chunk garbles; bytes are all there`, async (context) => {
    const client = naive(phone(context, { link: { cut } }), '/stream')
    await client.ending
    assert.notEqual(client.text, TEXT)
    assert.equal(Buffer.from(client.bytes).toString(), STREAM.join(''))
  })
}

test('chunks glued: who takes each chunk for one event loses those behind it', async (context) => {
  let firsts = ''
  const emulator = phone(context, { link: { cut: 'glued' }, timeScale: 20 })
  const client = naive(emulator, '/held', {}, (chunk) => {
    const said = new TextDecoder().decode(chunk)
    firsts += eventsOf(said)[0]
    return said
  })
  await until(() => open.length > 0)
  for (const piece of STREAM) {
    open[0].write(piece)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  open[0].end()
  await client.ending
  assert.equal(client.text, TEXT)
  assert.ok(client.chunks < STREAM.length, `${client.chunks} chunks`)
  assert.ok(firsts.length < TEXT.length)
})

test('cuts are the same for the same seed, and others for another', async (context) => {
  const chunksOf = async (seed: number) => {
    const client = naive(phone(context, { seed, link: { cut: 'random' } }), '/json', { enableChunked: false })
    await client.ending
    const streamed = naive(phone(context, { seed, link: { cut: 'random' } }), '/held')
    await until(() => open.length > 0)
    open[0].end(STREAM.join(''))
    await streamed.ending
    return streamed.chunks
  }
  const counts = [await chunksOf(1), await chunksOf(1), await chunksOf(2), await chunksOf(3), await chunksOf(4)]
  assert.equal(counts[0], counts[1])
  assert.ok(new Set(counts).size > 1, counts.join())
})

test('devtools: chunks are views, so `instanceof ArrayBuffer` sees nothing', async (context) => {
  const kinds = async (profile: 'android' | 'devtools') => {
    const { wx } = phone(context, { profile })
    const chunks: unknown[] = []
    await new Promise((resolve) => wx.request({ url: urlOf('/stream'), enableChunked: true, complete: resolve }).onChunkReceived(({ data }) => chunks.push(data)))
    return chunks.map((chunk) => chunk instanceof ArrayBuffer)
  }
  assert.ok((await kinds('android')).every(Boolean))
  assert.ok(!(await kinds('devtools')).some(Boolean))
})

test('devtools: raw Chinese is garbled even for a decoder that is right on phones; ASCII is not', async (context) => {
  const read = async (profile: 'android' | 'devtools') => {
    const decoder = createUtf8Decoder()
    const client = naive(phone(context, { profile, link: { cut: 'bytes' } }), '/stream', {}, (chunk) => decoder.decode(chunk))
    await client.ending
    const events = createSseParser().feed(new Uint8Array(client.bytes))
    return events.map(({ data }) => data).join('')
  }
  assert.equal(await read('android'), TEXT)
  assert.match(await read('devtools'), /^\ufffd+, world$/)
})

test('devtools: onHeadersReceived tells no status, so `statusCode === 200` is never true', async (context) => {
  const client = naive(phone(context, { profile: 'devtools' }), '/stream')
  await client.ending
  assert.deepEqual(client.statuses, [undefined])
})

test('devtools: abort does nothing to a stream, and the text goes on after stop', async (context) => {
  for (const [profile, isIgnored] of [['android', false], ['devtools', true]] as const) {
    const client = naive(phone(context, { profile }), '/held')
    await until(() => open.length > 0)
    client.abort()
    open[0].end(STREAM[0])
    assert.equal(await reasonOf(client), isIgnored ? 'it succeeded' : 'request:fail abort')
    assert.equal(client.text, isIgnored ? '你' : '')
  }
})

test('an abort that is ignored, on a device: the server never learns of it', async (context) => {
  const client = naive(phone(context, { ignoresAbort: true }), '/held')
  await until(() => open.length > 0)
  client.abort()
  await settle()
  assert.equal(open[0].destroyed, false)
  open[0].end(STREAM[0])
  assert.equal(await reasonOf(client), 'it succeeded')
})

for (const profile of ['pc', 'baselib-2.19'] as const) {
  test(`${profile}: no chunk ever comes; the body is in success`, async (context) => {
    const client = naive(phone(context, { profile }), '/stream')
    assert.equal(await dataOf(client), STREAM.join(''))
    assert.equal(client.text, '')
  })
}

test('baselib-2.19: there is no onChunkReceived to call, and canIUse says so', (context) => {
  const { wx } = phone(context, { profile: 'baselib-2.19' })
  assert.throws(() => wx.request({ url: urlOf('/stream'), enableChunked: true }).onChunkReceived(() => {}), TypeError)
  assert.equal(wx.canIUse('request.object.enableChunked'), false)
  assert.equal(phone(context, {}).wx.canIUse('request.object.enableChunked'), true)
})

test('baselib-3.8.11: everything comes at once, at the end', async (context) => {
  for (const [profile, before] of [['android', '你'], ['baselib-3.8.11', '']] as const) {
    const client = naive(phone(context, { profile }), '/held')
    await until(() => open.length > 0)
    open[0].write(STREAM[0])
    await settle()
    assert.equal(client.text, before)
    open[0].end(STREAM[1])
    await client.ending
    assert.deepEqual([client.text, client.chunks], ['你好', before ? 2 : 1])
  }
})

test('ios-8.0.54: of two streams only the last gets chunks; the other one ends with nothing', async (context) => {
  for (const [profile, first] of [['ios', '你'], ['ios-8.0.54', '']] as const) {
    const emulator = phone(context, { profile })
    const clients = [naive(emulator, '/held')]
    await until(() => open.length > 0)
    clients.push(naive(emulator, '/held'))
    await until(() => open.length > 1)
    for (const response of open) response.end(STREAM[0])
    await Promise.all(clients.map((client) => client.ending))
    assert.deepEqual(clients.map((client) => client.text), [first, '你'])
  }
})

test('ios: success gives a part of the data once more, which doubles it for who takes both', async (context) => {
  const client = naive(phone(context, { profile: 'ios' }), '/held')
  await until(() => open.length > 0)
  open[0].end(STREAM[0])
  const rest = eventsOf(await dataOf(client)).join('')
  assert.equal(client.text + rest, '你你')
})

test('android-debugging: a request fails as soon as it asks for chunks', async (context) => {
  const emulator = phone(context, { profile: 'android-debugging' })
  assert.equal(await reasonOf(naive(emulator, '/stream')), 'request:fail')
  assert.equal(await reasonOf(naive(emulator, '/stream', { enableChunked: false })), 'it succeeded')
})

test('a plain error to a request for chunks is invisible: no chunk, no body, and no fail', async (context) => {
  const client = naive(phone(context, {}), '/json')
  assert.equal(await dataOf(client), '')
  assert.deepEqual([client.chunks, client.statuses], [0, [401]])
  assert.match(await dataOf(naive(phone(context, {}), '/json', { enableChunked: false })), /unauthorized/)
})

test('background: after 5 s what runs is interrupted, and nothing can be requested until the foreground', async (context) => {
  const emulator = phone(context, { timeScale: 20 })
  const heard: string[] = []
  emulator.wx.onAppHide(() => heard.push('hide'))
  emulator.wx.onAppShow(() => heard.push('show'))
  const begin = emulator.clock.now()
  const client = naive(emulator, '/held')
  await until(() => open.length > 0)
  emulator.hide()
  open[0].write(STREAM[0])
  assert.equal(await reasonOf(client), 'request:fail interrupted')
  assert.ok(emulator.clock.now() - begin >= 5000)
  assert.equal(client.text, '你') // those 5 s are there
  assert.equal(await reasonOf(naive(emulator, '/stream')), 'request:fail interrupted')
  assert.equal(seen.length, 1) // it did not leave the phone
  emulator.show()
  assert.equal(await reasonOf(naive(emulator, '/stream')), 'it succeeded')
  assert.deepEqual(heard, ['hide', 'show'])
})

test('background: who is back within 5 s has lost nothing', async (context) => {
  const emulator = phone(context, { timeScale: 50 })
  const client = naive(emulator, '/held')
  await until(() => open.length > 0)
  emulator.hide()
  emulator.show()
  await new Promise<void>((resolve) => void emulator.clock.later(resolve, 6000))
  open[0].end(STREAM[0])
  assert.equal(await reasonOf(client), 'it succeeded')
})

test('a minute is the end, whatever timeout is asked for', async (context) => {
  const emulator = phone(context, { timeScale: 500 })
  const begin = emulator.clock.now()
  assert.equal(await reasonOf(naive(emulator, '/held', { timeout: 600_000 })), 'request:fail timeout')
  assert.ok(emulator.clock.now() - begin >= 60_000)
  assert.equal(await reasonOf(naive(emulator, '/held', { timeout: 1000 })), 'request:fail timeout')
})

test('ten requests at a time: hung ones keep the eleventh from starting', async (context) => {
  const emulator = phone(context, {})
  const hung = Array.from({ length: 10 }, () => naive(emulator, '/held'))
  const client = naive(emulator, '/stream')
  await until(() => open.length === 10)
  await settle()
  assert.deepEqual([seen.length, client.chunks, emulator.pending()], [10, 0, 11])
  hung[3].abort()
  assert.equal(await reasonOf(client), 'it succeeded')
})

test('a request that is aborted in the queue is never sent', async (context) => {
  const emulator = phone(context, {})
  for (let count = 0; count < 10; count++) naive(emulator, '/held')
  const client = naive(emulator, '/stream')
  client.abort()
  assert.equal(await reasonOf(client), 'request:fail abort')
  assert.equal(emulator.pending(), 10)
})

test('the network layer repeats a request by itself: a question without a key is asked twice', async (context) => {
  const client = naive(phone(context, { faults: { repeat: 1 } }), '/stream', { data: { question: '?' } })
  const ending = await client.ending
  assert.equal(ending.type === 'success' && ending.result.exception.retryCount, 1)
  assert.deepEqual(seen, ['{"question":"?"}', '{"question":"?"}'])
  assert.equal(client.text, TEXT)
})

test('a lost response: the server has done it, the client hears of a failure', async (context) => {
  const emulator = phone(context, { faults: { lose: 1 } })
  assert.match(await reasonOf(naive(emulator, '/stream', { data: 'x' })), /ERR_CONNECTION_RESET/)
  assert.deepEqual(seen, ['x'])
  emulator.change({ faults: { lose: 0, refuse: 1 } })
  assert.equal(await reasonOf(naive(emulator, '/stream', { data: 'y' })), 'request:fail')
  assert.deepEqual(seen, ['x'])
})

test('a drop: what came stays, and what did not is lost for who asks from the start or not at all', async (context) => {
  const client = naive(phone(context, { faults: { drop: 1 }, seed: 3 }), '/held')
  await until(() => open.length > 0)
  open[0].end('x'.repeat(9000))
  assert.match(await reasonOf(client), /ERR_CONNECTION_RESET/)
  assert.ok(client.bytes.length > 0 && client.bytes.length < 9000)
})

test('a stall: no byte, no error, until the minute is over', async (context) => {
  const emulator = phone(context, { faults: { stall: 1 }, seed: 3, timeScale: 500 })
  const client = naive(emulator, '/held')
  await until(() => open.length > 0)
  open[0].end('x'.repeat(9000))
  assert.equal(await reasonOf(client), 'request:fail timeout')
  assert.ok(client.bytes.length < 9000)
})

test('a slow link: bytes come at its pace, and requests late', async (context) => {
  const emulator = phone(context, { link: { bytesPerSecond: 1000, latency: 2000 }, timeScale: 50 })
  const begin = emulator.clock.now()
  const client = naive(emulator, '/held')
  await until(() => open.length > 0)
  assert.ok(emulator.clock.now() - begin >= 2000)
  open[0].end('x'.repeat(5000))
  await client.ending
  const seconds = (emulator.clock.now() - begin) / 1000
  assert.ok(seconds >= 6.5, `${seconds} s`)
  assert.ok(client.chunks >= 20)
  assert.equal(client.bytes.length, 5000)
})

test('a slow link: an answer that needs more than a minute is cut off, however fast it was written', async (context) => {
  for (const [bytesPerSecond, ending] of [[5000, 'it succeeded'], [50, 'request:fail timeout']] as const) {
    const client = naive(phone(context, { link: { bytesPerSecond }, timeScale: 30 }), '/held', { timeout: 600_000 })
    await until(() => open.length > 0)
    open[0].end('x'.repeat(5000))
    assert.equal(await reasonOf(client), ending)
    assert.equal(client.bytes.length === 5000, bytesPerSecond === 5000)
  }
})

test('headers: the referer is the platform\'s, and content is JSON unless something else is said', async (context) => {
  const emulator = phone(context, {})
  await naive(emulator, '/stream', { method: 'GET', header: { Referer: 'https://mine' } }).ending
  const headers = JSON.parse(seen[0])
  assert.match(headers.referer, /^https:\/\/servicewechat\.com\//)
  assert.equal(headers['content-type'], 'application/json')
})

test('data is parsed where it is JSON, and one BOM is taken off', async (context) => {
  const ending = await naive(phone(context, {}), '/bom', { enableChunked: false, responseType: 'text' }).ending
  assert.deepEqual(ending.type === 'success' && ending.result.data, { a: 1 })
})

for (const file of ['README.md', 'README.zh-CN.md']) {
  test(`${file} names every profile, fault and cut`, () => {
    const text = readFileSync(new URL(`../emulator/${file}`, import.meta.url), 'utf8')
    const faults = ['refuse', 'lose', 'repeat', 'drop', 'stall'].map((fault) => `faults.${fault}`)
    const names = [...Object.keys(PROFILES), ...faults, 'none', 'bytes', 'random', 'glued', 'ignoresAbort', 'timeScale', 'seed']
    assert.deepEqual(names.filter((name) => !text.includes(`\`${name}\``)), [])
  })
}
