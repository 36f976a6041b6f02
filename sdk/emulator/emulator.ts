/**
 * A `wx` whose network behaves like the real thing, over any wire.
 *
 * Laws: the same seed draws the same chances in the same order; all times are the real platform's, divided by one
 * factor; nothing happens after `close`. Facts are those of field/wechat.md, as profiles.ts says.
 */

import type { Faults, Link, Weather, Wire } from './line.js'
import { seeded } from './pieces.js'
import { PROFILES, type ProfileName } from './profiles.js'
import { INTERRUPTED, remove, startRequest, type Phone, type RunningRequest } from './request.js'
import type { RequestOption, RequestTask, VisibilityListener, Wx } from './wx.js'

export interface EmulatorOptions {
  profile?: ProfileName
  /** Of all chances. */
  seed?: number
  /** How many times faster than real: of the emulator, of its clock, and of a gateway that is told so. */
  timeScale?: number
  link?: Partial<Link>
  faults?: Partial<Faults>
  /** "abort": the generation continues after abort (FastGPT #4360), the stream goes on (gaozhenqiang #10), of devices. */
  ignoresAbort?: boolean
}

/** As the SDK asks for it. */
export interface EmulatorClock {
  now(): number
  later(callback: () => void, milliseconds: number): () => void
}

export interface Emulator {
  wx: Wx
  /** The emulated time, in which a program under test should count. */
  clock: EmulatorClock
  /** The program goes to the background; a locked screen counts. */
  hide(): void
  /** It comes back. */
  show(): void
  /** The network changes, for requests that start from now on. */
  change(weather: { link?: Partial<Link>; faults?: Partial<Faults> }): void
  /** How often what has happened: fates of requests by name (see Faults), `chunk`, `abort`, `queued`, `interrupted`. */
  counts: Readonly<Record<string, number>>
  /** Requests under way and in the queue. */
  pending(): number
  /** Switch the phone off: nothing is called any more. */
  close(): void
}

/** "background": 5 s after the program went there, what has not ended fails, and nothing can be requested until it is back. */
const BACKGROUND_MILLISECONDS = 5_000

/** "concurrency": 10 at a time; beyond that requests queue, and a hung stream holds a place. */
const MOST_REQUESTS = 10

const CALM: Faults = { refuse: 0, lose: 0, repeat: 0, drop: 0, stall: 0 }
const FAST: Link = { cut: 'none', latency: 0, bytesPerSecond: Infinity }

export function createEmulatorOn(wire: Wire, options: EmulatorOptions = {}): Emulator {
  const { seed = 1, timeScale = 1, ignoresAbort = false } = options
  const profile = PROFILES[options.profile || 'android']
  const clock = createScaledClock(timeScale)
  const counts: Record<string, number> = {}
  const running = new Set<RunningRequest>()
  const places = createPlaces(MOST_REQUESTS, () => count('queued'))
  const hideListeners = new Set<VisibilityListener>()
  const showListeners = new Set<VisibilityListener>()
  let weather: Weather = {
    faults: { ...CALM, ...options.faults },
    link: { ...FAST, ...options.link },
    random: seeded(seed),
    wire,
    later: clock.later,
    leastWait: timeScale, // a millisecond of a real timer
  }
  let lastStream: object | undefined
  let isCutOff = false // from 5 s in the background on
  let cancelCutOff = () => {}

  function count(what: string): void {
    counts[what] = (counts[what] || 0) + 1
  }

  function phone(onLeft: () => void): Phone {
    return {
      profile, ignoresAbort, count, weather,
      enter(start) {
        const leave = places.enter(start)
        return () => {
          leave()
          onLeft()
        }
      },
      isHeard: (stream) => !profile.onlyLastStream || stream === lastStream,
      openStream: (stream) => (lastStream = stream),
    }
  }

  const wx: Wx = {
    request(option): RequestTask {
      // The cast: what `success` gets is what the caller has named, as with the real one.
      const request = startRequest(option as RequestOption, phone(() => running.delete(request)))
      running.add(request)
      if (isCutOff) clock.later(() => interrupt(request), 0)
      return request.task
    },
    canIUse: (schema) => profile.chunks !== 'unknown' || !/enableChunked|ChunkReceived/.test(schema),
    getSystemInfoSync: () => ({ ...profile.system }),
    onAppHide: (listener) => void hideListeners.add(listener),
    offAppHide: (listener) => remove(hideListeners, listener),
    onAppShow: (listener) => void showListeners.add(listener),
    offAppShow: (listener) => remove(showListeners, listener),
  }

  function interrupt(request: RunningRequest): void {
    if (!running.has(request)) return
    count('interrupted')
    request.interrupt('request:fail interrupted', INTERRUPTED)
  }

  function cutOff(): void {
    isCutOff = true
    for (const request of [...running]) interrupt(request)
  }

  return {
    wx, clock, counts,
    hide() {
      cancelCutOff()
      cancelCutOff = clock.later(cutOff, BACKGROUND_MILLISECONDS)
      for (const listener of [...hideListeners]) listener({})
    },
    show() {
      cancelCutOff()
      isCutOff = false
      for (const listener of [...showListeners]) listener({})
    },
    change({ link, faults }) {
      weather = { ...weather, link: { ...weather.link, ...link }, faults: { ...weather.faults, ...faults } }
    },
    pending: () => running.size,
    close() {
      for (const request of running) request.discard()
      running.clear()
      clock.stop()
    },
  }
}

interface Places {
  enter(start: () => void): () => void
}

function createPlaces(most: number, onQueued: () => void): Places {
  const inside = new Set<() => void>()
  const queue = new Set<() => void>()

  function admit(): void {
    for (const start of queue) {
      if (inside.size >= most) return
      queue.delete(start)
      inside.add(start)
      start()
    }
  }

  return {
    enter(start) {
      // Later, as the platform does it: the caller has no task to listen on before it is back.
      const begin = () => queueMicrotask(() => inside.has(begin) && start())
      if (inside.size >= most) onQueued()
      queue.add(begin)
      admit()
      return () => {
        queue.delete(begin)
        inside.delete(begin)
        admit()
      }
    },
  }
}

function createScaledClock(scale: number): EmulatorClock & { stop(): void } {
  const timers = new Set<ReturnType<typeof setTimeout>>()
  const begin = performance.now()
  let isStopped = false
  return {
    now: () => (performance.now() - begin) * scale,
    later(callback, milliseconds) {
      if (isStopped) return () => {}
      const timer = setTimeout(() => {
        timers.delete(timer)
        callback()
      }, milliseconds / scale)
      timers.add(timer)
      return () => {
        timers.delete(timer)
        clearTimeout(timer)
      }
    },
    stop() {
      isStopped = true
      timers.forEach((timer) => clearTimeout(timer))
    },
  }
}
