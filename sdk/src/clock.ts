/** The time, where a host or a test has its own. */
export interface Clock {
  now(): number
  /** Call back after some milliseconds; answers how to cancel that. */
  later(callback: () => void, milliseconds: number): () => void
}

declare const setTimeout: (callback: () => void, milliseconds: number) => unknown
declare const clearTimeout: (timer: unknown) => void

export const systemClock: Clock = {
  now: () => Date.now(),
  later(callback, milliseconds) {
    const timer = setTimeout(callback, milliseconds)
    return () => clearTimeout(timer)
  },
}
