/** One `wx.request`, from the call to its last callback, as the profile's host would treat it. */

import { fateOf, openLine, type Call, type Fate, type Head, type Weather } from './line.js'
import type { Profile } from './profiles.js'
import type { ChunkListener, Data, FailResult, HeadersListener, HeadersResult, RequestOption, RequestTask } from './wx.js'

/** What a request needs of the phone that it is made on. */
export interface Phone {
  profile: Profile
  weather: Weather
  ignoresAbort: boolean
  /** Wait for one of the ten places; answers how to leave, or to stop waiting. */
  enter(start: () => void): () => void
  /** Whether callbacks for chunks may come, of the streams that are open. */
  isHeard(stream: object): boolean
  openStream(stream: object): void
  count(what: string): void
}

export interface RunningRequest {
  task: RequestTask
  /** End it, as the system does. */
  interrupt(errMsg: string, errno: number): void
  /** End it without a word. */
  discard(): void
}

/**
 * "timeout" (field/wechat.md, section 1.1): 60 s by default; the old official text has it as the maximum as well, and reports
 * say that settings of 5 and 10 minutes still end at 60 s.
 */
const MOST_MILLISECONDS = 60_000

// The platform's Errno codes: "time out", "cronet component internal error", "network interrupted error".
const TIMED_OUT = 5
const NETWORK = 600001
export const INTERRUPTED = 600003

export function startRequest(option: RequestOption, phone: Phone): RunningRequest {
  const { profile, weather } = phone
  const stream = {} // what this request is known by among those that are streamed
  const isChunked = option.enableChunked === true && profile.chunks !== 'unknown'
  const chunkListeners = new Set<ChunkListener>()
  const headersListeners = new Set<HeadersListener>()
  const body: Uint8Array[] = []
  let head: HeadersResult = { cookies: [], header: {}, statusCode: 0 }
  let hasLength = false // a response that is not in Transfer-Encoding: chunked
  let retryCount = 0
  let isOpen = true
  let cancelTimer = () => {}
  let closeLine = () => {}
  const leave = phone.enter(start)

  function start(): void {
    if (isChunked && profile.chunks === 'fails') return void (cancelTimer = weather.later(() => fail('request:fail', NETWORK), 0))
    const fate = fateOf(weather)
    phone.count(fate)
    if (isChunked) phone.openStream(stream)
    const limit = Math.min(option.timeout || MOST_MILLISECONDS, MOST_MILLISECONDS)
    cancelTimer = weather.later(() => fail('request:fail timeout', TIMED_OUT), limit)
    closeLine = open(fate)
  }

  function open(fate: Fate): () => void {
    return openLine(callOf(option), fate, weather, {
      headers: takeHeaders,
      bytes: take,
      end: succeed,
      fail: (reason) => fail(reason, NETWORK),
      repeated: () => retryCount++,
    })
  }

  function takeHeaders({ statusCode, headers }: Head): void {
    hasLength = headers['transfer-encoding'] !== 'chunked'
    head = { cookies: cookiesOf(headers), header: { ...headers }, statusCode }
    // The typings' own remark is the source for DevTools, which leave out what the type promises; hence the cast.
    const told = profile.tellsStatus ? head : ({ cookies: head.cookies, header: head.header } as HeadersResult)
    for (const listener of [...headersListeners]) listener(told)
  }

  function take(bytes: Uint8Array): void {
    if (isChunked && profile.chunks === 'live') hear(bytes)
    else body.push(bytes)
  }

  /**
   * "error bodies" (field/wechat.md, section 1.1): of a plain JSON answer to a request with `enableChunked`, onChunkReceived
   * was not executed and `success` could not see the body.
   */
  function hear(bytes: Uint8Array): void {
    if (hasLength || !phone.isHeard(stream)) return
    if (profile.afterChunks === 'last piece') body.splice(0, 1, bytes)
    phone.count('chunk')
    const data = chunkOf(bytes, profile)
    for (const listener of [...chunkListeners]) if (isOpen) listener({ data })
  }

  function succeed(): void {
    if (isChunked && profile.chunks === 'once') hear(joined(body.splice(0)))
    if (!isOpen) return
    // "success in chunk mode": any HTTP status reaches `success`, never `fail`.
    const result = { ...head, data: dataOf(joined(body), option), exception: { reasons: [], retryCount }, errMsg: 'request:ok' }
    close()
    if (option.success) option.success(result)
    if (option.complete) option.complete(result)
  }

  function fail(errMsg: string, errno: number): void {
    if (!isOpen) return
    close()
    const exception = { reasons: [], retryCount }
    const result: FailResult = { errMsg, errno, exception, useHttpDNS: false }
    if (option.fail) option.fail(result)
    if (option.complete) option.complete(result)
  }

  function abort(): void {
    phone.count('abort')
    if (!isOpen || (isChunked && (phone.ignoresAbort || profile.ignoresAbort))) return
    cancelTimer()
    closeLine()
    leave()
    cancelTimer = weather.later(() => fail('request:fail abort', NETWORK), 0)
  }

  function close(): void {
    isOpen = false
    cancelTimer()
    closeLine()
    leave()
  }

  const task: RequestTask = {
    abort,
    onChunkReceived: (listener) => void chunkListeners.add(listener),
    offChunkReceived: (listener) => remove(chunkListeners, listener),
    onHeadersReceived: (listener) => void headersListeners.add(listener),
    offHeadersReceived: (listener) => remove(headersListeners, listener),
  }
  // "versions": `onChunkReceived` came with base library 2.20.1.
  if (profile.chunks === 'unknown') Reflect.deleteProperty(task, 'onChunkReceived')
  return { task, interrupt: fail, discard: close }
}

export function remove<T>(listeners: Set<T>, listener: T | undefined): void {
  if (listener === undefined) listeners.clear()
  else listeners.delete(listener)
}

function cookiesOf({ 'set-cookie': cookies = [] }: Head['headers']): string[] {
  return typeof cookies === 'string' ? [cookies] : cookies
}

function joined(pieces: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0))
  let length = 0
  for (const piece of pieces) {
    whole.set(piece, length)
    length += piece.length
  }
  return whole
}

function chunkOf(bytes: Uint8Array, { garbles, views }: Profile): ArrayBuffer {
  const text = new TextDecoder('utf-8', { ignoreBOM: true })
  // A copy, whose buffer holds nothing else, as the buffers of Node's pool do.
  const said = garbles ? new Uint8Array(new TextEncoder().encode(text.decode(bytes))) : new Uint8Array(bytes)
  // DevTools give a view where the typings promise a buffer; hence the cast.
  return (views ? said : said.buffer) as ArrayBuffer
}

function dataOf(body: Uint8Array, { responseType, dataType = 'json' }: RequestOption): Data {
  if (responseType === 'arraybuffer') return new Uint8Array(body).buffer
  // "BOM": the platform strips one of normal responses, which is what this decoder does.
  const text = new TextDecoder().decode(body)
  if (dataType !== 'json') return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** "headers": `Referer` cannot be set, and is fixed; the content type is JSON unless something else is said. */
function callOf({ url, method = 'GET', header = {}, data }: RequestOption): Call {
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  for (const name of Object.keys(header)) headers[name.toLowerCase()] = String(header[name])
  headers['referer'] = 'https://servicewechat.com/wx0000000000000000/0/page-frame.html'
  const isQuery = method === 'GET' || method === 'HEAD'
  if (isQuery && typeof data === 'object' && !(data instanceof ArrayBuffer)) {
    return { url: `${url}${url.includes('?') ? '&' : '?'}${new URLSearchParams(data)}`, method, headers, body: '' }
  }
  const body = isQuery || data === undefined ? '' : bodyOf(data, headers['content-type'])
  if (body.length) headers['content-length'] = String(typeof body === 'string' ? new TextEncoder().encode(body).length : body.length)
  return { url, method, headers, body }
}

function bodyOf(data: Data, type: string): string | Uint8Array {
  if (typeof data === 'string') return data
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  return type.includes('x-www-form-urlencoded') ? String(new URLSearchParams(data)) : JSON.stringify(data)
}
