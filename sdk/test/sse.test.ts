import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSseParser, EventTooLarge } from '../src/sse.js'
import { bundle, runInQuickJs, withoutTextDecoder } from './engines.js'
import { streamOf } from './reference.js'
import { checkSse, randomNumbers, type Outcome } from './suites/sse.js'
import { bodiesOf, sseVectors, unfold } from './vectors.js'

const SEED = 20261123

/** `DAZI_CUTS=all`: the long streams are cut as often as the short ones, which takes minutes. */
const THOROUGH = process.env['DAZI_CUTS'] === 'all'

const corpus = [
  streamOf('Chinese, JSON', 'data: {"text":"你好,世界"}\n\ndata: {"text":"😀👩‍👩‍👧🇨🇳𠮷"}\n\n'),
  streamOf('CR LF', 'event: x\r\nid: 1\r\nretry: 200\r\ndata: a\r\n\r\ndata: b\r\n\r\n'),
  streamOf('CR alone', 'data: 你\rdata: b\r\rid: 7\r\rdata: c\r\r'),
  streamOf('mixed line ends', 'data: a\r\n\rdata: b\n\r\ndata: c\r\ndata: d\n\n\r\r\ndata: e\r\n\n'),
  streamOf('byte order marks', '\ufeff\ufeffdata: 1\n\n\ufeffdata: 2\n\ndata: \ufeff3\n\n'),
  streamOf('only a mark', '\ufeff'),
  streamOf('a mark before data', '\ufeffdata: 1\n\n'),
  streamOf('comments and unknown fields', ': hi\n:\nfoo: bar\ndata\ndata:\ndata: x\nData: y\n data: z\n\n'),
  streamOf('events without data', 'id: 1\n\nevent: x\n\ndata: a\n\nid\nevent:\nevent: y\nevent\ndata: b\n\n'),
  streamOf('ids', 'id: a\0b\ndata: 1\n\nid: …\ndata: 2\n\ndata: 3\n\nid:\ndata: 4\n\nid: 9\ndata: not finished\n'),
  streamOf('retries', 'retry: 1x\ndata: a\n\nretry: -5\ndata: b\n\nretry: 007\nretry: ٣\ndata: c\n\nretry\nretry: 1e3\ndata: d\n\n'),
  streamOf('no line ends', 'data: a\u2028b\u2029c\u0085d\u000be\u000cf\u001cg\n\n'),
  streamOf('bad bytes', Buffer.from('data: \xff\xc3(\xe4\xbd\xf0\x9f\x98\xed\xa0\x80 \xe4\xbd\n\ndata: \xf0\x9f\r\rdata: ok\n\n', 'latin1')),
  streamOf('values with colons and spaces', 'data:  a: b \ndata:\t\ndata::\n\n: data: no\ndata:a\n\n'),
]

/** Random lines of a few telling bytes: line ends, field names, halves of characters. */
function randomStreams(count: number) {
  const random = randomNumbers(SEED)
  const parts = ['\n', '\r', '\r\n', '\n\n', 'data', ': ', ':', 'data: ', 'id', 'event: ', 'retry:', '1', ' ', '\xe4\xbd\xa0', '\xf0\x9f', '\x98\x80', '\xef\xbb\xbf', '\0', 'x']
  return Array.from({ length: count }, (_, index) => {
    const content = Array.from({ length: 40 }, () => parts[Math.floor(random() * parts.length)]).join('')
    return streamOf(`random stream ${index}`, Buffer.from(content, 'latin1'))
  })
}

const vectors = sseVectors()
const vectorStreams = vectors.map((vector) => streamOf(vector.name, ...bodiesOf(vector)))
const streams = [...corpus, ...randomStreams(40), ...vectorStreams]

function checkAll(): Outcome[] {
  return streams.map((stream) => checkSse(stream, SEED, THOROUGH))
}

function assertNoFailures(outcomes: Outcome[]): void {
  assert.deepEqual(outcomes.flatMap((outcome) => outcome.failures).slice(0, 5), [])
  assert.ok(outcomes.length === streams.length && outcomes.every((outcome) => outcome.cases > 20))
}

test('the reference, by which streams are judged here, agrees with the vectors', () => {
  assert.ok(vectors.length > 300)
  for (const [index, vector] of vectors.entries()) {
    const { events, lastEventId, retry } = vectorStreams[index]
    assert.deepEqual(
      [events.map(({ event, data, id }) => ({ event, data, id })), lastEventId, retry],
      [
        vector.events.map(({ event, data, id }) => ({ event, data: unfold(data), id: unfold(id) })),
        unfold(vector.last_event_id),
        vector.retry,
      ],
      vector.name,
    )
  }
})

test('every stream gives its events however it is cut, in Node', () => assertNoFailures(checkAll()))

test('every stream gives its events however it is cut, without TextDecoder', () =>
  withoutTextDecoder(() => assertNoFailures(checkAll())))

test('every stream gives its events however it is cut, in QuickJS', async () => {
  const code = await bundle('test/suites/sse.ts')
  const expression = `JSON.stringify(${JSON.stringify(streams)}.map((stream) => suite.checkSse(stream, ${SEED}, ${THOROUGH})))`
  assertNoFailures(JSON.parse(await runInQuickJs(code, expression)))
})

test('text is taken as it is, also between bytes', () => {
  const parser = createSseParser()
  assert.deepEqual(parser.feed('data: 你'), [])
  assert.deepEqual(parser.feed(Buffer.from('好')), [])
  assert.deepEqual(parser.feed('\n\n'), [{ event: 'message', data: '你好', id: '', retry: null }])
})

test('id and retry outlive the body that set them; an unfinished block does not', () => {
  const parser = createSseParser()
  parser.feed('id: 7\nretry: 50\n\nid: 8\ndata: lost')
  parser.nextBody()
  assert.deepEqual([parser.lastEventId(), parser.retry()], ['7', 50])
  assert.deepEqual(parser.feed('\ufeffdata: a\n\n'), [{ event: 'message', data: 'a', id: '7', retry: 50 }])
})

test('half a character does not reach into the next body', () => {
  const parser = createSseParser()
  parser.feed(Uint8Array.of(0x64, 0xe4))
  parser.nextBody()
  assert.deepEqual(parser.feed('data: a\n\n').length, 1)
})

test('an event as long as the limit passes and a longer one ends the stream, however it is cut', () => {
  for (const [length, passes] of [[14, true], [15, false]] as const) {
    const body = `data: ${'x'.repeat(length - 6)}\n\n`
    for (let cut = 0; cut <= body.length; cut++) {
      const parser = createSseParser(14)
      const feed = () => [...parser.feed('data: ok\n\n'), ...parser.feed(body.slice(0, cut)), ...parser.feed(body.slice(cut))]
      if (passes) assert.equal(feed().length, 2)
      else assert.throws(feed, EventTooLarge)
    }
  }
})

test('events before one that is too large are still delivered, then every feed throws', () => {
  const parser = createSseParser(10)
  assert.equal(parser.feed('data: a\n\ndata: far too long\n\ndata: b\n\n').length, 1)
  assert.throws(() => parser.feed(''), { name: 'EventTooLarge', limit: 10, message: /limit of 10 characters/ })
  assert.throws(() => parser.feed('data: b\n\n'), EventTooLarge)
})

test('a mebibyte in one line, byte by byte, takes no long time', { timeout: 10_000 }, () => {
  const parser = createSseParser()
  const byte = Uint8Array.of(0x61)
  parser.feed('data: ')
  for (let count = 0; count < 1 << 20; count++) parser.feed(byte)
  assert.equal(parser.feed('\n\n')[0].data.length, 1 << 20)
})
