/** One contract, run by every platform: the laws of src/platform.ts. */

import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { after, before, test } from 'node:test'
import { createClient, type Update } from '../src/client.js'
import { openEventSource, type EventSourceEnd } from '../src/event-source.js'
import type { Chunk, ServerSentEvent } from '../src/sse.js'
import { createSseParser } from '../src/sse.js'
import type { Platform, PlatformRequest } from '../src/platform.js'
import { startGateway, type Gateway } from './gateway.js'
import { HOSTS } from './hosts.js'

const TEXT = Buffer.from('id: 1\ndata: 你好\n\nevent: more\ndata: 👨‍👩‍👧\u2028\r\ndata: b\n\n')
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

const ROUTES: Record<string, (request: IncomingMessage, response: ServerResponse) => unknown> = {
  async '/stream'(_, response) {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    for (const at of [0, 15, 30]) {
      response.write(TEXT.subarray(at, at === 30 ? undefined : at + 15))
      await pause(20)
    }
    response.end()
  },
  async '/echo'(request, response) {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    response.end(JSON.stringify({ method: request.method, accept: request.headers['accept'], body: Buffer.concat(chunks).toString() }))
  },
  '/refuse': (_, response) => response.writeHead(401, { 'Content-Type': 'application/json' }).end('{"error":"key"}'),
  '/break': (_, response) => response.write(TEXT.subarray(0, 24), () => setTimeout(() => response.destroy(), 20)),
  '/hang': (_, response) => response.write(TEXT),
}

let base = ''
let closed = 0
let gateway: Gateway
const server = createServer((request, response) => {
  response.on('close', () => closed++)
  ROUTES[request.url || '']?.(request, response)
})

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  base = address && typeof address === 'object' ? `http://127.0.0.1:${address.port}` : ''
  gateway = await startGateway()
})

after(() => {
  server.closeAllConnections()
  server.close()
  return gateway && gateway.stop()
})

interface Outcome {
  calls: string[]
  events: ServerSentEvent[]
  status: number
  body: string
}

function textOf(chunk: Chunk): string {
  return typeof chunk === 'string' ? chunk : Buffer.from(chunk instanceof ArrayBuffer ? new Uint8Array(chunk) : new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)).toString()
}

/** Send, and tell what came until a while after it ended. */
async function send(platform: Platform, request: Partial<PlatformRequest> & { url: string }): Promise<Outcome> {
  const parser = createSseParser()
  const outcome: Outcome = { calls: [], events: [], status: 0, body: '' }
  let isSent = false
  await new Promise<void>((resolve) => {
    const note = (call: string) => {
      assert.ok(isSent, `${call} before send had returned`)
      outcome.calls.push(call)
    }
    platform.send({ method: 'GET', headers: {}, streamed: true, ...request }, {
      chunk(chunk) {
        note('chunk')
        outcome.events.push(...parser.feed(chunk))
      },
      end(status, body) {
        note('end')
        outcome.status = status
        outcome.body = textOf(body)
        resolve()
      },
      fail() {
        note('fail')
        resolve()
      },
    })
    isSent = true
  })
  await pause(30)
  return outcome
}

for (const [name, createHost] of Object.entries(HOSTS)) {
  test(`${name}: declares whether chunks can come`, () => {
    const { platform, streams } = createHost()
    assert.equal(platform.streams, streams)
  })

  test(`${name}: a stream is complete, in chunks or at its end`, async () => {
    const { calls, events, status, body } = await send(createHost().platform, { url: `${base}/stream` })
    const all = [...events, ...createSseParser().feed(body)].map(({ event, data, id }) => [event, data, id])
    assert.deepEqual(all, [['message', '你好', '1'], ['more', '👨‍👩‍👧\u2028\nb', '1']])
    assert.equal(status, 200)
    assert.deepEqual(calls.filter((call) => call !== 'chunk'), ['end'])
    assert.equal(calls[calls.length - 1], 'end')
  })

  test(`${name}: the events of any endpoint, and its end`, async () => {
    const seen: string[] = []
    const end = await new Promise<EventSourceEnd>((onEnd) => {
      openEventSource({ url: `${base}/stream`, platform: createHost().platform, method: 'POST', body: '{}', onEvent: ({ data }) => seen.push(data), onEnd })
    })
    assert.deepEqual([seen, end.type, end.status], [['你好', '👨‍👩‍👧\u2028\nb'], 'complete', 200])
  })

  test(`${name}: method, headers and body arrive, and the answer comes whole`, async () => {
    const request = { url: `${base}/echo`, method: 'POST', headers: { Accept: 'application/json' }, body: '{"a":"你"}', streamed: false } as const
    const { calls, body } = await send(createHost().platform, request)
    assert.deepEqual([calls, JSON.parse(body)], [['end'], { method: 'POST', accept: 'application/json', body: '{"a":"你"}' }])
  })

  test(`${name}: what a server says when it refuses is told`, async () => {
    const { calls, status, body } = await send(createHost().platform, { url: `${base}/refuse`, streamed: false })
    assert.deepEqual([calls, status, body], [['end'], 401, '{"error":"key"}'])
  })

  test(`${name}: a refused stream ends once`, async () => {
    const { platform, showsRefusals } = createHost()
    const { calls, status } = await send(platform, { url: `${base}/refuse` })
    assert.deepEqual(calls.filter((call) => call !== 'chunk'), [showsRefusals ? 'end' : 'fail'])
    assert.equal(status, showsRefusals ? 401 : 0)
  })

  test(`${name}: a line that breaks, or is none, fails once`, async () => {
    const broken = await send(createHost().platform, { url: `${base}/break` })
    assert.deepEqual(broken.calls.filter((call) => call !== 'chunk'), ['fail'])
    const none = await send(createHost().platform, { url: 'http://127.0.0.1:9/' })
    assert.deepEqual(none.calls, ['fail'])
  })

  test(`${name}: after a cancel nothing is called, and the line is closed`, async () => {
    const { platform, aborts } = createHost()
    const calls: string[] = []
    const note = (call: string) => () => void calls.push(call)
    const before = closed
    const cancel = platform.send({ method: 'GET', url: `${base}/hang`, headers: {}, streamed: true }, { chunk: note('chunk'), end: note('end'), fail: note('fail') })
    await pause(60)
    cancel()
    const seen = calls.length
    cancel()
    await pause(60)
    assert.equal(calls.length, seen)
    assert.equal(closed - before, aborts ? 1 : 0)
    server.closeAllConnections()
    await pause(20)
    assert.equal(calls.length, seen)
  })

  test(`${name}: tells of background and foreground, until it is not asked to`, () => {
    const { platform, hide, show } = createHost()
    const seen: boolean[] = []
    const goAndComeBack = () => [hide, show].forEach((turn) => turn && turn())
    const stop = platform.watchVisibility((visible) => seen.push(visible))
    goAndComeBack()
    stop()
    goAndComeBack()
    assert.deepEqual(seen, hide ? [false, true] : [])
  })

  test(`${name}: the gateway's answer, exactly`, { timeout: 30_000 }, async () => {
    const client = createClient({ url: gateway.url, platform: createHost().platform })
    const last = await new Promise<Update>((resolve) => {
      client.ask({ model: 'demo', messages: [{ role: 'user', content: name }] }, (update) => update.end && resolve(update))
    })
    const truth = JSON.parse(await (await fetch(`${gateway.url}/v1/generations/${last.generation}`)).text())
    assert.deepEqual([last.end?.type, last.text], ['done', truth.text])
  })
}
