/**
 * Types a growing text out, a little at a time.
 *
 * Laws: what is shown is always a beginning of the text that ends between two graphemes, so the last one received waits
 * for its successor, or for the end; at most 20 changes a second; a tick costs what it adds, not what is there already;
 * after the end everything is shown within 0.35 s; nothing is animated for a hidden page, or for who wants it still.
 */

const TICK = 50; // ms
const DELAY = 800; // ms behind the stream: what smooths bursts without feeling late
const DRAIN = 350; // ms from the end until everything is shown
const REACH = 64; // UTF-16 units beyond a step in which a grapheme is expected to end

const quiet = window.matchMedia("(prefers-reduced-motion: reduce)");
const isStill = () => document.hidden || quiet.matches;

/**
 * Makes a typewriter. `show(shown)` is called when more (or, after a retraction, other) text is to be seen; `rested`
 * once everything is, after the end.
 */
export function typewriter({ show, rested = () => {} }) {
  let text = "";
  let shown = 0; // UTF-16 units
  let ticksLeft = null; // until the end of the drain; null while the text may grow
  let timer = null;
  let lastTick = -TICK;

  function update(next) {
    if (!next.startsWith(text.slice(0, shown))) goBack(next);
    text = next;
    schedule();
  }

  /** Something else stands where the text was: keep what both begin with, the rest goes at once. */
  function goBack(next) {
    let same = 0;
    while (same < shown && text[same] === next[same]) same += 1;
    skip(next, same);
  }

  /** Shows without typing what was seen already, before a reload. */
  function skip(next, seen = next.length) {
    text = next;
    shown = boundaryBefore(next, seen);
    show(next.slice(0, shown));
  }

  function end() {
    ticksLeft = DRAIN / TICK;
    schedule();
  }

  function schedule() {
    const wait = lastTick + TICK - performance.now();
    // A hidden page's timers may sleep for a minute, so there the tick is now, unless one has just been.
    if (document.hidden && (wait <= 0 || ticksLeft !== null)) tick();
    else if (timer === null) timer = setTimeout(tick, Math.max(0, wait));
  }

  function tick() {
    clearTimeout(timer);
    timer = null;
    lastTick = performance.now();
    const before = shown;
    advance();
    if (shown !== before) show(text.slice(0, shown));
    if (ticksLeft === 0) return rest();
    if (shown !== before || ticksLeft !== null) schedule();
  }

  function advance() {
    const backlog = text.length - shown;
    const share = ticksLeft === null ? TICK / DELAY : 1 / ticksLeft;
    const step = isStill() ? backlog : Math.ceil(backlog * share);
    if (step) shown = boundaryAfter(text, shown, step, ticksLeft !== null);
    if (ticksLeft !== null) ticksLeft = shown === text.length ? 0 : Math.max(1, ticksLeft - 1);
  }

  function rest() {
    document.removeEventListener("visibilitychange", hurry);
    rested();
  }

  const hurry = () => document.hidden && timer !== null && tick();
  document.addEventListener("visibilitychange", hurry);

  return { update, end, skip, shown: () => text.slice(0, shown) };
}

/** The first boundary at least `step` units after `from`, which is one; while the text may grow, its end is none. */
function boundaryAfter(text, from, step, isWhole) {
  for (let reach = step + REACH; ; reach *= 2) {
    const slice = text.slice(from, from + reach);
    const reachesEnd = from + slice.length === text.length;
    const ends = graphemeEnds(slice);
    // The last grapheme of the slice may go on behind it.
    const sure = reachesEnd && isWhole ? ends : ends.slice(0, -1);
    const end = sure.find((offset) => offset >= step);
    if (end !== undefined) return from + end;
    if (reachesEnd) return from + (sure.at(-1) || 0);
  }
}

/** The last boundary that is sure, whatever follows, within the first `limit` units. */
function boundaryBefore(text, limit) {
  if (limit === 0) return 0;
  // A grapheme never goes on over a line's end, so it is enough to look at the last line.
  const from = text.lastIndexOf("\n", limit - 1) + 1;
  const ends = graphemeEnds(text.slice(from, limit + REACH));
  const isSure = (end, index) => from + end <= limit && index < ends.length - 1;
  return from + (ends.filter(isSure).at(-1) || 0);
}

const segmenter = typeof Intl.Segmenter === "function" ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

// Where there is no segmenter: flags in pairs; otherwise a code point with all that modifies it or is joined to it.
const CLUSTER =
  /\r\n|(?:\p{Regional_Indicator}{2}|[^])(?:[\p{M}\p{Emoji_Modifier}\u{E0020}-\u{E007F}]|\u200d\p{Extended_Pictographic}?)*/gu;

/** The offsets at which the graphemes of a text end. */
export function graphemeEnds(text) {
  if (!segmenter) return Array.from(text.matchAll(CLUSTER), (match) => match.index + match[0].length);
  return Array.from(segmenter.segment(text), ({ index, segment }) => index + segment.length);
}
