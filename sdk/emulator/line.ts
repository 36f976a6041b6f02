/**
 * One request over real HTTP, on a network that fails by seeded chance.
 *
 * Laws: `headers` comes before `bytes`, `bytes` before exactly one of `end` and `fail`; nothing comes after the line was
 * closed, nor while the caller is still in `openLine`.
 */

import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { createPieces, type Cut, type Pieces } from './pieces.js'

/** The chance of a request, from 0 to 1, that it meets this. */
export interface Faults {
  /** It never arrives at the server. */
  refuse: number
  /** It arrives, and the response is lost with the connection. */
  lose: number
  /** The same, but the network layer repeats the request by itself: "lower-layer retries" (field/wechat.md, 1.1). */
  repeat: number
  /** The connection is reset in the middle of the response; the message is that of "HTTP/2, QUIC flags" there. */
  drop: number
  /** The connection falls silent in the middle of the response, and nobody is told. */
  stall: number
}

export interface Link {
  cut: Cut
  /** Milliseconds that a request takes to arrive, beyond what the real network does. */
  latency: number
  bytesPerSecond: number
}

export interface Weather {
  faults: Faults
  link: Link
  random(): number
  later(callback: () => void, milliseconds: number): () => void
  leastWait: number
}

export interface Call {
  url: string
  method: string
  headers: Record<string, string>
  body: string | Uint8Array
}

export interface LineReception {
  headers(response: IncomingMessage): void
  bytes(bytes: Uint8Array): void
  end(): void
  fail(reason: string): void
  /** The network layer has sent the request once more. */
  repeated(): void
}

export type Fate = 'fine' | keyof Faults

// Responses of a conversation are mostly longer: a line that breaks, breaks in the middle.
const LATEST_BREAK = 8_000

// Of a slow link; the server waits then, as it does for a phone.
const MOST_WAITING = 65_536

const RESET = 'request:fail errcode:-101 cronet_error_code:-101 error_msg:net::ERR_CONNECTION_RESET'

// A connection a request: which of them breaks is not the chance of a pool.
const AGENTS = { 'http:': new HttpAgent({ keepAlive: false }), 'https:': new HttpsAgent({ keepAlive: false }) }

export function fateOf({ faults, random }: Weather): Fate {
  let chance = random()
  for (const fate of ['refuse', 'lose', 'repeat', 'drop', 'stall'] as const) {
    if (chance < faults[fate]) return fate
    chance -= faults[fate]
  }
  return 'fine'
}

/** Send a request that meets this fate; answers how to close the line. */
export function openLine(call: Call, fate: Fate, weather: Weather, reception: LineReception): () => void {
  const { link, later, random, leastWait } = weather
  let isOpen = true
  let sent: ClientRequest | undefined
  let pieces: Pieces | undefined
  let toBreak = fate === 'drop' || fate === 'stall' ? Math.floor(random() ** 2 * LATEST_BREAK) : Infinity
  let cancelLatency = later(fate === 'refuse' ? () => fail('request:fail') : () => send(fate === 'lose' || fate === 'repeat'), link.latency)

  function send(isLost: boolean): void {
    sent = requestOf(call)
    sent.on('response', (response) => {
      if (!isOpen) return
      // An error of a response is one of its connection, which is told below by 'close'.
      response.on('error', () => {})
      if (isLost) lose()
      else receive(response)
    })
    sent.on('error', (error) => isOpen && !isLost && fail(`request:fail ${error.message}`))
    sent.end(call.body)
  }

  function lose(): void {
    sent?.destroy()
    if (fate === 'lose') return fail(RESET)
    reception.repeated()
    cancelLatency = later(() => send(false), link.latency)
  }

  function receive(response: IncomingMessage): void {
    pieces = createPieces({ ...link, random, later, leastWait, deliver })
    reception.headers(response)
    response.on('data', (bytes: Uint8Array) => {
      pieces?.feed(bytes)
      // Asked anew: what was fed may have been the last that this line brings.
      if (isOpen && pieces && pieces.waiting() > MOST_WAITING) throttle(response)
    })
    response.on('close', () => {
      if (!isOpen || !pieces) return
      pieces.end(response.complete ? end : () => fail(RESET))
    })
  }

  function throttle(response: IncomingMessage): void {
    response.pause()
    later(() => response.resume(), 1000)
  }

  function deliver(piece: Uint8Array): void {
    if (!isOpen) return
    const whole = piece.subarray(0, toBreak)
    toBreak -= whole.length
    if (whole.length) reception.bytes(whole)
    if (isOpen && toBreak <= 0) breakDown()
  }

  function breakDown(): void {
    if (fate === 'drop') return fail(RESET)
    // Silent for good: the connection stands, and nothing that comes is taken.
    pieces?.stop()
    pieces = undefined
  }

  function end(): void {
    if (!isOpen) return
    close()
    reception.end()
  }

  function fail(reason: string): void {
    if (!isOpen) return
    close()
    reception.fail(reason)
  }

  function close(): void {
    isOpen = false
    cancelLatency()
    pieces?.stop()
    sent?.destroy()
  }

  return close
}

function requestOf({ url, method, headers }: Call): ClientRequest {
  const isSecure = url.startsWith('https:')
  return (isSecure ? httpsRequest : httpRequest)(url, { method, headers, agent: AGENTS[isSecure ? 'https:' : 'http:'] })
}
