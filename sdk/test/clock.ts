/** A clock that only moves when told. */

import type { Clock } from '../src/clock.js'

export interface ManualClock extends Clock {
  /** Let time pass; what is due happens in order. */
  advance(milliseconds: number): void
  /** Set the wall clock without letting it pass, as a person sets a wall clock. */
  set(wall: number): void
}

export function createClock(): ManualClock {
  let time = 0
  let offset = 0 // of the wall clock; timers do not mind it
  let number = 0
  const due = new Map<number, { at: number; callback: () => void }>()

  function next(until: number) {
    const [first] = [...due].filter(([, timer]) => timer.at <= until).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])
    return first
  }

  return {
    now: () => time + offset,
    set: (to) => (offset = to - time),
    later(callback, milliseconds) {
      const key = number++
      due.set(key, { at: time + milliseconds, callback })
      return () => due.delete(key)
    },
    advance(milliseconds) {
      const until = time + milliseconds
      for (let timer = next(until); timer; timer = next(until)) {
        due.delete(timer[0])
        time = Math.max(time, timer[1].at)
        timer[1].callback()
      }
      time = until
    },
  }
}
