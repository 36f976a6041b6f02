/**
 * How what arrives is cut into chunks. "chunk != server write" (field/wechat.md, section 1.1): the server sends 11, 22,
 * 33 and the client receives 1, then 1, 22, 33; two packets come in one event on Android, iOS and DevTools.
 *
 * Laws: all bytes come out, once, in order; those of a slow link at its pace; none after `stop`.
 */

export type Cut = 'none' | 'bytes' | 'random' | 'glued'

export interface PiecesOptions {
  cut: Cut
  /** Of a slow link; Infinity for one that is not. */
  bytesPerSecond: number
  random(): number
  later(callback: () => void, milliseconds: number): () => void
  /** A wait shorter than this is not worth a timer: it is added to the next. */
  leastWait: number
  deliver(piece: Uint8Array): void
}

export interface Pieces {
  feed(bytes: Uint8Array): void
  /** Call back once all is delivered. */
  end(done: () => void): void
  stop(): void
  /** Bytes that wait for the link. */
  waiting(): number
}

interface Rule {
  size(available: number, random: () => number): number
  /** Milliseconds after a piece in which what comes is gathered. */
  pause(random: () => number): number
}

const RULES: Record<Cut, Rule> = {
  none: { size: (available) => available, pause: () => 0 },
  bytes: { size: () => 1, pause: () => 0 },
  random: {
    size: (available, random) => 1 + Math.floor(random() * (random() < 0.5 ? 4 : available)),
    pause: (random) => (random() < 0.1 ? random() * 300 : 0),
  },
  glued: { size: (available) => available, pause: (random) => 200 + random() * 600 },
}

// On a slow link a piece is not more than what comes in this time.
const SLOW_MILLISECONDS = 250

export function createPieces({ cut, bytesPerSecond, random, later, leastWait, deliver }: PiecesOptions): Pieces {
  const rule = RULES[cut]
  const mostBytes = Math.max(1, (bytesPerSecond * SLOW_MILLISECONDS) / 1000)
  let held = new Uint8Array(0)
  let owed = 0 // milliseconds that the pieces so far still have to take
  let isWaiting = false
  let isStopped = false
  let done: (() => void) | undefined // set once no more will come
  let cancel = () => {}

  function pump(): void {
    while (!isWaiting && !isStopped && held.length) {
      if (owed >= leastWait) return wait()
      const size = Math.floor(Math.min(held.length, mostBytes, rule.size(held.length, random)))
      const piece = held.slice(0, size)
      held = held.subarray(size)
      owed += rule.pause(random) + (size * 1000) / bytesPerSecond
      deliver(piece)
    }
    if (!isWaiting && !isStopped && done) {
      isStopped = true
      done()
    }
  }

  function wait(): void {
    isWaiting = true
    cancel = later(() => {
      isWaiting = false
      owed = 0
      pump()
    }, owed)
  }

  return {
    feed(bytes) {
      held = joined(held, bytes)
      pump()
    },
    end(callback) {
      done = callback
      pump()
    },
    stop() {
      isStopped = true
      cancel()
    },
    waiting: () => held.length,
  }
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(one.length + other.length)
  both.set(one)
  both.set(other, one.length)
  return both
}

/** Numbers from 0 to 1 by chance, the same for the same seed. */
export function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let bits = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
    return ((bits ^ (bits >>> 14)) >>> 0) / 4294967296
  }
}
