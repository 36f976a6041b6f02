/** A client that knows the documentation and no quirk, and a server for it. */

import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { after, before, type TestContext } from 'node:test'
import { createEmulator, type Emulator, type EmulatorOptions } from '../emulator/index.js'
import type { FailResult, RequestOption, SuccessResult } from '../emulator/wx.js'

export const TEXT = '你好👨‍👩‍👧‍👦𠮷, world'
export const STREAM = [...TEXT].map((piece) => `data: ${piece}\n\n`)

let server: Server
let base: string
/** Bodies of the requests that came. */
export const seen: string[] = []
/** Streams under way, to go on with by hand. */
export const open: ServerResponse[] = []
/** Which phone is in use, so that what an earlier one has sent does not count. */
let round = 0

const ROUTES: Record<string, (response: ServerResponse) => void> = {
  /** An answer, piece by piece, at once. */
  '/stream': (response) => {
    for (const piece of STREAM) response.write(piece)
    response.end()
  },
  /** The same, but only when a test says so. */
  '/held': (response) => {
    response.writeHead(200).flushHeaders()
    open.push(response)
  },
  '/json': (response) => {
    const body = '{"error":{"code":"unauthorized"}}'
    response.writeHead(401, { 'content-type': 'application/json', 'content-length': body.length })
    response.end(body)
  },
  '/bom': (response) => response.end('\ufeff{"a":1}'),
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = ''
  for await (const bytes of request) body += bytes
  const [path, of] = (request.url || '').split('?')
  if (Number(of) !== round) return void response.end()
  seen.push(body || JSON.stringify(request.headers))
  ROUTES[path](response)
}

before(async () => {
  server = createServer((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  base = typeof address === 'object' && address ? `http://127.0.0.1:${address.port}` : ''
})

after(() => {
  server.closeAllConnections()
  server.close()
})

export function phone(context: TestContext, options: EmulatorOptions): Emulator {
  seen.length = open.length = 0
  round++
  const emulator = createEmulator({ timeScale: 100, ...options })
  context.after(emulator.close)
  return emulator
}

/** A path of the server, for the phone that is in use. */
export function urlOf(path: string): string {
  return `${base}${path}?${round}`
}

/** What everybody writes first: decode each chunk, split it at blank lines, take what is behind `data: `. */
export function eventsOf(chunk: string): string[] {
  return chunk.split('\n\n').filter(Boolean).map((block) => block.replace('data: ', ''))
}

type Ending = { type: 'success'; result: SuccessResult } | { type: 'fail'; error: FailResult }

export interface Naive {
  text: string
  bytes: number[]
  chunks: number
  statuses: unknown[]
  ending: Promise<Ending>
  abort(): void
}

/** A client that knows the documentation, and no quirk. */
export function naive({ wx }: Emulator, path: string, options: Partial<RequestOption> = {}, decode = (chunk: Uint8Array) => new TextDecoder().decode(chunk)): Naive {
  const client: Naive = { text: '', bytes: [], chunks: 0, statuses: [], ending: Promise.reject(), abort: () => {} }
  client.ending.catch(() => {})
  client.ending = new Promise((resolve) => {
    const task = wx.request({
      url: urlOf(path), method: 'POST', enableChunked: true, responseType: 'arraybuffer', ...options,
      success: (result) => resolve({ type: 'success', result }),
      fail: (error) => resolve({ type: 'fail', error }),
    })
    client.abort = () => task.abort()
    task.onHeadersReceived(({ statusCode }) => client.statuses.push(statusCode))
    if (!task.onChunkReceived) return
    task.onChunkReceived(({ data }) => {
      client.chunks++
      client.bytes.push(...new Uint8Array(data))
      client.text += eventsOf(decode(new Uint8Array(data))).join('')
    })
  })
  return client
}

export async function reasonOf(client: Naive): Promise<string> {
  const ending = await client.ending
  return ending.type === 'fail' ? ending.error.errMsg : 'it succeeded'
}

export async function dataOf(client: Naive): Promise<string> {
  const ending = await client.ending
  assert.equal(ending.type, 'success')
  return ending.type === 'success' ? Buffer.from(ending.result.data as ArrayBuffer).toString() : ''
}

export async function until(condition: () => boolean): Promise<void> {
  const begin = Date.now()
  while (!condition()) {
    if (Date.now() - begin > 10_000) throw new Error(`never: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

export const settle = () => new Promise((resolve) => setTimeout(resolve, 60))
