/**
 * One request, over a wire that is real, on a network that fails by seeded chance.
 *
 * Laws: `headers` comes before `bytes`, `bytes` before exactly one of `end` and `fail`; nothing comes after the line was
 * closed, nor while the caller is still in `openLine`.
 */

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
  wire: Wire
}

export interface Call {
  url: string
  method: string
  headers: Record<string, string>
  body: string | Uint8Array
}

/** What comes before the body of a response. */
export interface Head {
  statusCode: number
  headers: Record<string, string | string[] | undefined>
}

/** `head` comes before `bytes`, `bytes` before exactly one of `end` and `fail`; nothing comes after the exchange was closed. */
export interface Exchanged {
  head(head: Head): void
  bytes(bytes: Uint8Array): void
  /** The response has ended: in full, or because its connection was lost. */
  end(isComplete: boolean): void
  /** There will be no response. */
  fail(reason: string): void
}

export interface Exchange {
  close(): void
  /** Take no more bytes for now. */
  pause(): void
  resume(): void
}

/** One request over HTTP, undisturbed: what carries the line. Nothing is told while the caller is still in it. */
export type Wire = (call: Call, exchanged: Exchanged) => Exchange

export interface LineReception {
  headers(head: Head): void
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
  const { link, later, random, leastWait, wire } = weather
  let isOpen = true
  let exchange: Exchange | undefined
  let pieces: Pieces | undefined
  let toBreak = fate === 'drop' || fate === 'stall' ? Math.floor(random() ** 2 * LATEST_BREAK) : Infinity
  let cancelLatency = later(fate === 'refuse' ? () => fail('request:fail') : () => send(fate === 'lose' || fate === 'repeat'), link.latency)

  function send(isLost: boolean): void {
    exchange = wire(call, {
      head: (head) => (isLost ? lose() : receive(head)),
      bytes: take,
      end: (isComplete) => pieces?.end(isComplete ? end : () => fail(RESET)),
      fail: (reason) => isOpen && fail(`request:fail ${reason}`),
    })
  }

  function lose(): void {
    exchange?.close()
    if (fate === 'lose') return fail(RESET)
    reception.repeated()
    cancelLatency = later(() => send(false), link.latency)
  }

  function receive(head: Head): void {
    pieces = createPieces({ ...link, random, later, leastWait, deliver })
    reception.headers(head)
  }

  function take(bytes: Uint8Array): void {
    pieces?.feed(bytes)
    // Asked anew: what was fed may have been the last that this line brings.
    if (isOpen && pieces && pieces.waiting() > MOST_WAITING) throttle()
  }

  function throttle(): void {
    exchange?.pause()
    later(() => exchange?.resume(), 1000)
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
    exchange?.close()
  }

  return close
}
