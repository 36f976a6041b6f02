/**
 * Follow the end of a list while it grows, unless the reader has scrolled up.
 *
 * Laws: only a reader moves the list up, since growing never does; who is back at the end follows again; scrolling costs
 * no `setData`.
 */

export interface Scrolling {
  /** The list has grown. */
  grow(): void
  /** The list has scrolled, by whomever. */
  scrolled(detail: { scrollTop: number; scrollHeight: number }, height: number): void
  /** Go to the end, and follow it. */
  toEnd(): void
}

// How far from the end one still is at the end.
const NEAR = 24
// How far up a hand has to go until it is meant.
const FAR = 60

/** `scrollTo` takes the list to a position; `onAway` is told whether the reader is away from the end. */
export function createScrolling(scrollTo: (top: number) => void, onAway: (isAway: boolean) => void): Scrolling {
  let isAway = false
  let highest = 0 // since it last went down

  function be(away: boolean): void {
    if (away === isAway) return
    isAway = away
    onAway(away)
  }

  return {
    grow() {
      if (!isAway) scrollTo(BOTTOM)
    },
    scrolled({ scrollTop, scrollHeight }, height) {
      const rest = scrollHeight - scrollTop - height
      highest = Math.max(highest, scrollTop)
      if (rest <= NEAR) {
        highest = scrollTop
        be(false)
      } else if (highest - scrollTop > FAR) be(true)
    },
    toEnd() {
      highest = 0
      be(false)
      scrollTo(BOTTOM)
    },
  }
}

// Further than any list is long; the platform goes as far as it can.
const BOTTOM = 10_000_000
