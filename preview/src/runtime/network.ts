/**
 * The emulator in a browser, with a log of what each request did: what was sent where, each chunk as the program got it, how it
 * ended.
 */

import { createEmulatorOn, type Emulator, type EmulatorOptions } from '../../../sdk/emulator/emulator.js'
import type { RequestOption, RequestTask } from '../../../sdk/emulator/wx.js'
import { createBrowserWire } from './wire.js'

export interface ChunkEntry {
  /** Milliseconds from the request on. */
  at: number
  length: number
  /** The first bytes, as hexadecimal digits. */
  head: string
}

export interface NetworkEntry {
  id: number
  method: string
  /** As the program named it, and as it was sent. */
  url: string
  sentTo: string
  isChunked: boolean
  /** Milliseconds from the program's launch on. */
  at: number
  statusCode?: number
  /** Bytes of chunks that the program got, and of the body that `success` got. */
  bytes: number
  chunks: ChunkEntry[]
  /** How many chunks came; the first of them are in `chunks`. */
  chunkCount: number
  /** `errMsg`, once it has ended. */
  end?: string
  endedAt?: number
  wasAborted: boolean
}

export interface Network {
  emulator: Emulator
  entries: readonly NetworkEntry[]
  setOnline(isOnline: boolean): void
}

export interface NetworkOptions extends EmulatorOptions {
  /** The WebSocket of the preview's server. */
  address: string
  /** Where all requests go, whichever host the program names; '' for where it says. */
  gateway: string
  onChange(entry: NetworkEntry): void
}

// Of what is kept for the log.
const MOST_ENTRIES = 300
const MOST_CHUNKS = 2000
const HEAD_BYTES = 48

export function createNetwork({ address, gateway, onChange, ...options }: NetworkOptions): Network {
  const route = (url: string) => (gateway ? gateway.replace(/\/$/, '') + url.replace(/^https?:\/\/[^/?#]+/, '') : url)
  const { wire, setOnline } = createBrowserWire(address, route)
  const emulator = createEmulatorOn(wire, options)
  const entries: NetworkEntry[] = []
  const begin = performance.now()
  const request = emulator.wx.request
  let last = 0

  function open({ url, method = 'GET', enableChunked = false }: RequestOption): NetworkEntry {
    const entry: NetworkEntry = {
      id: ++last,
      method,
      url,
      sentTo: route(url),
      isChunked: enableChunked,
      at: performance.now() - begin,
      bytes: 0,
      chunks: [],
      chunkCount: 0,
      wasAborted: false,
    }
    entries.push(entry)
    if (entries.length > MOST_ENTRIES) entries.shift()
    onChange(entry)
    return entry
  }

  function close(entry: NetworkEntry, end: string): void {
    Object.assign(entry, { end, endedAt: performance.now() - begin })
    onChange(entry)
  }

  function take(entry: NetworkEntry, data: ArrayBuffer | Uint8Array): void {
    const bytes = data instanceof Uint8Array ? data : new Uint8Array(data)
    entry.bytes += bytes.length
    entry.chunkCount += 1
    if (entry.chunks.length < MOST_CHUNKS)
      entry.chunks.push({ at: performance.now() - begin - entry.at, length: bytes.length, head: hexOf(bytes.subarray(0, HEAD_BYTES)) })
    onChange(entry)
  }

  // What `success` gets is what the caller has named; here it is any data.
  const watched = (option: RequestOption): RequestTask => {
    if (!/^https?:\/\//.test(option.url)) return refuse(option)
    const entry = open(option)
    const task = request({
      ...option,
      success(result) {
        entry.statusCode = result.statusCode
        if (!entry.chunkCount) entry.bytes += lengthOf(result.data)
        close(entry, result.errMsg)
        option.success?.(result)
      },
      fail(error) {
        close(entry, error.errMsg)
        option.fail?.(error)
      },
    })
    task.onHeadersReceived(({ statusCode }) => {
      entry.statusCode = statusCode
      onChange(entry)
    })
    task.onChunkReceived?.(({ data }) => take(entry, data))
    const abort = task.abort
    return Object.assign(task, {
      abort() {
        entry.wasAborted = true
        abort()
      },
    })
  }

  emulator.wx.request = watched as typeof request
  return { emulator, entries, setOnline }
}

/** As the platform does with a URL that is none: it fails at once. */
function refuse({ url, fail, complete }: RequestOption): RequestTask {
  const error = { errMsg: `request:fail invalid url "${url}"`, errno: 600009, exception: { reasons: [], retryCount: 0 }, useHttpDNS: false }
  setTimeout(() => (fail?.(error), complete?.(error)))
  const ignore = () => {}
  return { abort: ignore, onChunkReceived: ignore, offChunkReceived: ignore, onHeadersReceived: ignore, offHeadersReceived: ignore }
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function lengthOf(data: unknown): number {
  if (data instanceof ArrayBuffer) return data.byteLength
  return new TextEncoder().encode(typeof data === 'string' ? data : JSON.stringify(data) || '').length
}
