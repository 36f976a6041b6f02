/**
 * Show a text that grows in bursts as if somebody typed it.
 *
 * Laws:
 * - no frame ends inside a character as people see it: the last one of a text that may go on is held back;
 * - the pace follows the backlog, so that a fast model is not slowed down and a stall is bridged;
 * - at most 20 frames a second, none while paused, none after `stop`, and exactly one that is `done`;
 * - what frames say adds up: a frame's text is the first `kept` units of the last one's, and what is new.
 */

import { systemClock, type Clock } from './clock.js'
import { graphemeEnd } from './graphemes.js'

export interface Frame {
  /** All that is to be seen. */
  text: string
  /** How much of it, in UTF-16 units, was seen before: less than the last frame's length where text was replaced. */
  kept: number
  /** Whether this is the end. */
  done: boolean
}

export interface Typewriter {
  /** The next piece. */
  append(piece: string): void
  /** The whole text so far; what of it stands already is not typed again. */
  replace(text: string): void
  /** Nothing follows: type the rest evenly, soon. */
  end(): void
  /** Show at once what is there. */
  flush(): void
  /** Show nothing, as in the background; text may go on arriving. */
  pause(): void
  resume(): void
  /** Show nothing ever again. */
  stop(): void
}

// WeChat's advice for setData: at most 20 calls a second.
const TICK = 50

// While text arrives, what is waiting is spread over so many milliseconds; it bridges the usual gaps between bursts.
const SPREAD = 800

// After the end, a reader should not wait for a show.
const DRAIN = 350

/** Make a typewriter that draws by `show`. */
export function createTypewriter(show: (frame: Frame) => void, clock: Clock = systemClock): Typewriter {
  let target = ''
  let shown = 0 // how much of the target is seen; always the end of a grapheme of it
  let stale = false // more is seen than still stands, since the target was replaced
  let ended = false
  let drainedAt = 0 // when all should be seen; set by the end
  let lastFrame = -Infinity
  let paused = false
  let stopped = false
  let cancel: (() => void) | undefined // the next tick, while one is due

  function schedule(): void {
    if (cancel || paused || !hasMore()) return
    const wait = lastFrame + TICK - clock.now()
    if (wait <= 0) return type(TICK)
    // A wall clock that was set back must not hold the text.
    cancel = clock.later(tick, Math.min(wait, TICK))
  }

  function hasMore(): boolean {
    return !stopped && (ended || stale || nextEnd() > shown)
  }

  /** The end of the next grapheme, or of the seen text while nobody knows where the next one ends. */
  function nextEnd(): number {
    const end = graphemeEnd(target, shown)
    return ended || end < target.length - (endsInHalf(target) ? 1 : 0) ? end : shown
  }

  function tick(): void {
    cancel = undefined
    if (hasMore()) type(clock.now() - lastFrame)
  }

  function type(elapsed: number): void {
    const time = ended ? Math.min(drainedAt - clock.now(), DRAIN) : SPREAD
    const share = Math.max(elapsed, TICK) / Math.max(time, TICK)
    draw(shown + Math.ceil((target.length - shown) * Math.min(share, 1)))
  }

  function draw(goal: number): void {
    const kept = shown
    for (let next = nextEnd(); shown < goal && next > shown; next = nextEnd()) shown = next
    stale = false
    stopped = ended && shown === target.length
    lastFrame = clock.now()
    show({ text: target.slice(0, shown), kept, done: stopped })
    schedule()
  }

  function cancelTick(): void {
    if (cancel) cancel()
    cancel = undefined
  }

  return {
    append(piece) {
      target += piece
      schedule()
    },
    replace(text) {
      // Where a grapheme ends depends on the next code point, so that one has to stand too.
      if (!text.startsWith(target.slice(0, shown + 2))) {
        const common = commonGraphemes(target.slice(0, shown), text)
        stale = stale || common < shown
        shown = common
      }
      target = text
      schedule()
    },
    end() {
      ended = true
      drainedAt = clock.now() + DRAIN
      schedule()
    },
    flush() {
      if (!paused && hasMore()) draw(target.length)
    },
    pause() {
      paused = true
      cancelTick()
    },
    resume() {
      paused = false
      schedule()
    },
    stop() {
      stopped = true
      cancelTick()
    },
  }
}

function endsInHalf(text: string): boolean {
  const unit = text.charCodeAt(text.length - 1)
  return unit >= 0xd800 && unit < 0xdc00
}

/** How much of the new text is the same, up to the end of a grapheme of it that cannot grow. */
function commonGraphemes(before: string, text: string): number {
  let same = 0
  while (same < before.length && before[same] === text[same]) same++
  let end = 0
  for (let next = 0; next <= same && next < text.length; next = graphemeEnd(text, end)) end = next
  return end
}
