/**
 * A clock that goes a fifth slower, so that a typewriter draws 16 times a second: the platform's advice is at most 20
 * `setData` a second, and the page has some of its own.
 */

import { systemClock, type Clock } from 'dazi/clock'

const PACE = 0.8

export const unhurriedClock: Clock = {
  now: () => systemClock.now() * PACE,
  later: (callback, milliseconds) => systemClock.later(callback, milliseconds / PACE),
}
