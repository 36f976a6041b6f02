import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { test } from 'node:test'
import { createEmulator } from '../emulator/index.js'
import { openEventSource, type EventSourceEnd, type EventSourceOptions } from '../src/event-source.js'
import type { Platform } from '../src/platform.js'
import { fetchPlatform } from '../src/platform/fetch.js'
import { createWxPlatform } from '../src/platform/wx.js'
import type { ServerSentEvent } from '../src/sse.js'

type Answer = (request: IncomingMessage, response: ServerResponse, count: number) => void

/** Serve, follow until the end, and tell what came. */
async function run(answer: Answer, options: Partial<EventSourceOptions> = {}) {
  let count = 0
  const server = createServer((request, response) => answer(request, response, ++count))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (!address || typeof address === 'string') throw new Error('no port')
  const seen: string[] = []
  const end = await new Promise<EventSourceEnd>((onEnd) => {
    const url = `http://127.0.0.1:${address.port}/`
    openEventSource({ url, platform: fetchPlatform, onEvent: ({ data }) => seen.push(data), onEnd, ...options })
  })
  server.closeAllConnections()
  server.close()
  return { seen, end, count }
}

test('a stream is followed to its end, a POST once only', async () => {
  const { seen, end, count } = await run(
    async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      const [head, tail] = [Buffer.from('data: 你').subarray(0, 7), Buffer.from('data: 你').subarray(7)]
      response.write(head)
      setTimeout(() => response.end(Buffer.concat([tail, Buffer.from(`${Buffer.concat(chunks)}\n\ndata: not finished`)])), 20)
    },
    { method: 'POST', body: '好' },
  )
  assert.deepEqual([seen, end.type, count], [['你好'], 'complete', 1])
})

test('a broken GET is come back to with the last id, until the server says 204', async () => {
  const ids: unknown[] = []
  const { seen, end } = await run((request, response, count) => {
    ids.push(request.headers['last-event-id'])
    if (count === 3) return response.writeHead(204).end()
    response.write(`retry: 1\nid: ${count}\ndata: ${count}\n\nid: 9\ndata: lost`, () => response.destroy())
  })
  assert.deepEqual([seen, ids, end.type], [['1', '2'], [undefined, '1', '2'], 'complete'])
})

test('a refusal is told with its status and body', async () => {
  const { end } = await run((_, response) => response.writeHead(401).end('{"error":"key"}'))
  assert.deepEqual([end.type, end.status, end.body], ['refused', 401, '{"error":"key"}'])
})

test('an id from an earlier source is sent, and a stream can take it back', async () => {
  const ids: unknown[] = []
  await run((request, response, count) => {
    ids.push(request.headers['last-event-id'])
    if (count === 4) return response.writeHead(204).end()
    response.write(`retry: 1\n${count === 3 ? 'id\n' : ''}data: x\n\n`, () => response.destroy())
  }, { lastEventId: '7', onEvent: ({ id }) => ids.push(id) })
  assert.deepEqual(ids, ['7', '7', '7', '7', '7', '', undefined])
})

test('it waits as long as the server asks, longer and longer while it fails, and never for a timer that overflows', async () => {
  const waitsFor = async (retry: string) => {
    const waits: number[] = []
    const later = (callback: () => void, milliseconds: number) => (waits.push(milliseconds), setImmediate(callback), () => {})
    await run((_, response, count) => (count > 1 ? response.destroy() : response.write(`${retry}data: x\n\n`, () => response.destroy())), {
      platform: { ...fetchPlatform, clock: { now: Date.now, later } },
    })
    return waits
  }
  for (const [retry, least] of [['', 1000], ['retry: 200\n', 200], ['retry: 60000\n', 60_000], ['retry: 9999999999\n', 3_600_000]] as const) {
    const waits = await waitsFor(retry)
    assert.equal(waits.length, 10)
    waits.forEach((wait, index) => {
      const wanted = Math.max(least, Math.min(30_000, least * 2 ** index))
      assert.ok(wait >= wanted && wait <= wanted * 1.25, `${wait} ms instead of ${wanted}`)
    })
  }
})

test('what a server says when it refuses is text, also where the platform has bytes of it', async (context) => {
  const phone = createEmulator({ profile: 'pc', timeScale: 20 })
  context.after(phone.close)
  const { end } = await run((_, response) => response.writeHead(400).end('{"error":"密钥"}'), { platform: createWxPlatform(phone.wx, phone.clock) })
  assert.deepEqual([end.type, end.body], ['refused', '{"error":"密钥"}'])
})

test('a line that breaks each time ends the source', async () => {
  const { end, count } = await run((_, response) => response.destroy(), {
    platform: { ...fetchPlatform, clock: { now: Date.now, later: (callback) => (setImmediate(callback), () => {}) } },
  })
  assert.deepEqual([end.type, count], ['lost', 11])
})

test('a line that broke in the background is come back to in the foreground, and no longer watched after the end', async () => {
  let tell: ((visible: boolean) => void) | undefined
  let seenRequests = 0
  const platform: Platform = {
    ...fetchPlatform,
    watchVisibility(listener) {
      tell = listener
      return () => (tell = undefined)
    },
  }
  const { seen, count } = await run((_, response, request) => {
    if (request === 3) return response.writeHead(204).end()
    if (tell) tell(false)
    response.write(`retry: 1\ndata: ${request}\n\n`, () => response.destroy())
    setTimeout(() => {
      assert.equal(seenRequests, request)
      if (tell) tell(true)
    }, 60)
    seenRequests = request
  }, { platform })
  assert.deepEqual([seen, count, tell], [['1', '2'], 3, undefined])
})

/** How an answer goes on with an event, as docs/sdk.md says of each server. */
const READERS: Record<string, (answer: string, event: ServerSentEvent) => string> = {
  openai(answer, { data }) {
    if (data === '[DONE]') return answer
    const { choices = [] } = JSON.parse(data)
    return choices.length ? answer + (choices[0].delta.content || '') : answer
  },
  dify(answer, { data }) {
    const { event, answer: piece } = JSON.parse(data)
    if (event === 'message_replace') return piece
    return event === 'message' || event === 'agent_message' ? answer + piece : answer
  },
  coze(answer, { event, data }) {
    const { type, content } = JSON.parse(data)
    return event === 'conversation.message.delta' && type === 'answer' ? answer + content : answer
  },
  fastgpt: (answer, event) => (event.event === 'answer' || event.event === 'fastAnswer' ? READERS['openai'](answer, event) : answer),
}

interface Shape {
  preset: string
  stream: string[]
  expect: { text: string }
}

const delta = (content: string | null) => `data: {"id":"","choices":[{"delta":{"role":"assistant","content":${JSON.stringify(content)}},"index":0,"finish_reason":null}]}`

/** With `"detail": true`, as its documentation shows it. */
const FASTGPT: Shape = {
  preset: 'fastgpt',
  stream: [
    'event: flowNodeStatus\ndata: {"status":"running","name":"AI 对话"}', `event: answer\n${delta('电影')}`, `event: fastAnswer\n${delta('《铃')}`, `event: answer\n${delta(null)}`,
    'event: answer\ndata: [DONE]', 'event: flowResponses\ndata: [{"moduleName":"AI 对话"}]',
  ],
  expect: { text: '电影《铃' },
}

/** Streams of the real servers, which the gateway's tests read too. */
function shapeOf(name: string): Shape {
  return JSON.parse(readFileSync(new URL(`../../tests/upstream/shapes/${name}.json`, import.meta.url), 'utf8'))
}

const SHAPES: Record<string, Shape> = {
  'FastGPT, in detail': FASTGPT,
  ...Object.fromEntries(['openai', 'dify', 'dify-grown', 'dify-replaced', 'dify-error', 'coze', 'coze-failed'].map((name) => [name, shapeOf(name)])),
}

for (const [name, { preset, stream, expect }] of Object.entries(SHAPES)) {
  for (const profile of ['ios', 'pc'] as const) {
    test(`${name}: read as the guide says, its stream gives its answer, on ${profile}`, async (context) => {
      const phone = createEmulator({ profile, timeScale: 20, link: { cut: 'bytes' } })
      context.after(phone.close)
      let answer = ''
      const { end } = await run((_, response) => {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' })
        response.end(stream.map((block) => `${block}\n\n`).join(''))
      }, {
        platform: createWxPlatform(phone.wx, phone.clock), method: 'POST', body: '{}', onEvent: (event) => void (answer = READERS[preset](answer, event)),
      })
      assert.deepEqual([answer, end.type], [expect.text, 'complete'])
    })
  }
}
