/**
 * Markdown inside a block: emphasis, code, links and images, as a flat list of spans.
 *
 * Laws:
 * - while a block is open, what has begun (`**`, a backtick, `[`) is drawn as if it were finished, and its marks are
 *   hidden; when the block closes unfinished, they are text;
 * - what no later text can change is settled, and not looked at again: the work is linear;
 * - a link is `http`, `https` or `mailto`; any other is plain text.
 */

export interface Span {
  /** What is to be seen; of an image, its description. */
  text: string
  /** Any of `strong`, `em`, `code`, `del`, separated by spaces; left out where there is none. */
  marks?: string
  href?: string
  /** The address of an image. */
  image?: string
}

/** How far a block's text is settled: everything before `at` is in `spans`. */
export interface Progress {
  readonly at: number
  readonly spans: readonly Span[]
}

export const NOTHING: Progress = { at: 0, spans: [] }

const STRONG = 1
const EM = 2
const CODE = 4
const DEL = 8
const NAMES = ['strong', 'em', 'code', 'del']

// How far what has begun may be from its end. Without it, one lone `*` would keep a whole long answer unsettled.
const REACH = 1000

// No decision but those about what has begun looks further ahead than `https://` is long.
const LOOKAHEAD = 16

// Short spans, so that a frame sends few characters again; longer ones after each ten, so that there are never many.
const SHORTEST_SPAN = 16
const SPANS_OF_A_LENGTH = 10

interface Piece {
  text: string
  marks: number
  href?: string
  image?: string
}

/** A run of `*`, `_` or `~` that may open emphasis, or a `[`. */
interface Opener {
  sign: string
  count: number
  at: number
  /** Its place in the list of pieces. */
  index: number
  /** Whether the rest of its run has closed something, so that reading cannot begin again here. */
  isRest: boolean
}

/** Text up to the next character that may mean something. */
const PLAIN = /[^\\`*_~[\]!<&h]+|[^]/y
const RUN = /`+|\*+|_+|~+/y
const URL_HERE = /https?:\/\/[\w\-.~:/?#[\]@!$&'()*+,;=%]+/y
const BRACKETED_URL = /<((?:https?:\/\/|mailto:)[^\s<>]*)>/y
const TARGET = /\(\s*(?:<([^<>\n]*)>|((?:[^\s()<>\\]|\\[^]|\((?:[^\s()\\]|\\[^])*\))*))(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/y
const BREAK = /<br *\/?>/iy
const ENTITY = /&(amp|lt|gt|quot|nbsp|#39);/y
const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', nbsp: '\u00a0', '#39': "'" }
const UNFINISHED = /[*_~`\\!\s]/

/** Read on from what is settled. `isOpen`: more may follow `source`. */
export function readInline(source: string, progress: Progress, isOpen: boolean): { spans: Span[]; progress: Progress } {
  const end = isOpen ? openEnd(source) : source.length
  const settledEnd = isOpen ? end - LOOKAHEAD : -1
  const pieces: Piece[] = []
  const openers: Opener[] = []
  let settled = progress.spans
  let settledAt = progress.at
  let at = progress.at
  let isSettling = true

  function matchHere(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = at
    return pattern.exec(source)
  }

  function match(pattern: RegExp): RegExpExecArray | null {
    const found = matchHere(pattern)
    return found && at + found[0].length <= end ? found : null
  }

  function push(text: string, length: number, marks = 0): void {
    pieces.push({ text, marks })
    at += length
  }

  /** Before the first opener nothing changes any more. */
  function settle(): void {
    const [count, until] = openers.length ? [openers[0].index, openers[0].at] : [pieces.length, at]
    if (!isSettling || !count || until > settledEnd || (openers.length && openers[0].isRest)) return
    if (settled === progress.spans) settled = progress.spans.slice()
    pushPieces(settled as Span[], pieces.splice(0, count)) // the cast: the copy is ours
    for (const opener of openers) opener.index -= count
    settledAt = until
  }

  function takeCode(run: string): void {
    const close = closingRun(source, run, at + run.length, Math.min(end, at + REACH))
    if (close >= 0) return push(codeOf(source.slice(at + run.length, close)), close + run.length - at, CODE)
    if (!isOpen || source.length - at > REACH) return push(run, run.length)
    isSettling = false
    push(codeOf(source.slice(at + run.length, end)), end - at, CODE)
  }

  function takeEmphasis(run: string): void {
    const [before, after] = [source[at - 1] || ' ', source[at + run.length] || ' ']
    const inWord = run[0] === '_' && /\w/.test(before) && /\w/.test(after)
    let rest = run.length
    if (!inWord && /\S/.test(before)) rest = closeEmphasis(run[0], rest)
    if (rest && !inWord && /\S/.test(after) && (run[0] !== '~' || rest > 1)) {
      openers.push({ sign: run[0], count: rest, at, index: pieces.length, isRest: rest < run.length })
      push('', run.length)
    } else push(run.slice(0, rest), run.length)
  }

  /** Close what such a run can close; answers how much of the run is left. */
  function closeEmphasis(sign: string, count: number): number {
    for (let i = openers.length - 1; i >= 0 && count; i--) {
      const opener = openers[i]
      if (opener.sign === '[') break // emphasis does not leave a link
      if (opener.sign !== sign || (sign === '~' && count < 2)) continue
      dropOpeners(i + 1)
      while (count && opener.count) {
        const width = count > 1 && opener.count > 1 ? 2 : 1
        mark(opener, sign === '~' ? DEL : width === 2 ? STRONG : EM)
        count -= width
        opener.count -= width
      }
      if (!opener.count) openers.pop()
    }
    return count
  }

  function mark(opener: Opener, marks: number): void {
    for (let i = opener.index + 1; i < pieces.length; i++) pieces[i].marks |= marks
  }

  /** From the one numbered `first` on, they were text. */
  function dropOpeners(first: number): void {
    for (const opener of openers.splice(first)) pieces[opener.index].text = literalOf(opener)
  }

  function takeBracket(): void {
    const length = source[at] === '!' ? 2 : 1
    openers.push({ sign: '[', count: length, at, index: pieces.length, isRest: false })
    push('', length)
  }

  function takeClosingBracket(): void {
    const first = lastBracket()
    if (first < 0) return push(']', 1)
    at++
    const target = match(TARGET)
    if (target) return closeLink(first, target[1] || target[2] || '', target[0].length)
    const isHalf = isOpen && (at === end || (source[at] === '(' && end - at < REACH && !/\n/.test(source.slice(at, end))))
    if (isHalf) {
      // Its text is seen as text; its target is hidden until it is whole.
      isSettling = false
      at = end
      return
    }
    dropOpeners(first)
    push(']', 0)
  }

  function lastBracket(): number {
    for (let i = openers.length - 1; i >= 0; i--) if (openers[i].sign === '[') return i
    return -1
  }

  function closeLink(first: number, target: string, length: number): void {
    const { index, count } = openers[first]
    dropOpeners(first)
    pieces[index].text = ''
    at += length
    const url = target.replace(/\\([!-/:-@[-`{-~])/g, '$1')
    if (count === 2) {
      const text = pieces.splice(index + 1).map((piece) => piece.text).join('')
      pieces.push({ text, marks: 0, ...(/^https?:\/\//i.test(url) && { image: url }) })
    } else if (isSafe(url)) for (const piece of pieces.slice(index)) piece.href = url
  }

  function takeLink(url: string, length: number): void {
    push(url, length)
    if (isSafe(url)) pieces[pieces.length - 1].href = url
  }

  function takeUrl(found: string): void {
    if (isOpen && at + found.length === end) isSettling = false
    const url = trimmedUrl(found)
    takeLink(url, url.length)
  }

  function take(): void {
    const sign = source[at]
    const run = match(RUN)
    if (run) return sign === '`' ? takeCode(run[0]) : takeEmphasis(run[0])
    if (sign === '\\' && /[!-/:-@[-`{-~]/.test(source[at + 1] || '')) return push(source[at + 1], 2)
    if (sign === '[' || (sign === '!' && source[at + 1] === '[')) return takeBracket()
    if (sign === ']') return takeClosingBracket()
    let found: RegExpExecArray | null = null
    if (sign === 'h' && !/\w/.test(source[at - 1] || '') && lastBracket() < 0 && (found = matchHere(URL_HERE))) return takeUrl(found[0].slice(0, end - at))
    if (sign === '<' && (found = match(BRACKETED_URL))) return takeLink(found[1], found[0].length)
    if (sign === '<' && (found = match(BREAK))) return push('\n', found[0].length)
    if (sign === '&' && (found = match(ENTITY))) return push(ENTITIES[found[1]], found[0].length)
    const text = (matchHere(PLAIN) || [''])[0].slice(0, end - at)
    push(text, text.length)
  }

  while (at < end) {
    dropFarOpeners(at)
    settle()
    take()
  }
  dropFarOpeners(source.length)
  if (isOpen) finishOpeners()
  else dropOpeners(0)
  const spans = settled.slice()
  pushPieces(spans, pieces)
  return { spans, progress: { at: settledAt, spans: settled } }

  function dropFarOpeners(from: number): void {
    while (openers.length && from - openers[0].at > REACH) {
      const [opener] = openers.splice(0, 1)
      pieces[opener.index].text = literalOf(opener)
    }
  }

  /** Draw what has begun as if it were finished here. */
  function finishOpeners(): void {
    // What describes an image is no text of the answer.
    const image = openers.findIndex(({ sign, count }) => sign === '[' && count === 2)
    if (image >= 0) pieces.splice(openers[image].index)
    let marks = 0
    let next = 0
    for (let i = 0; i < pieces.length; i++) {
      for (; next < openers.length && openers[next].index < i; next++) marks |= marksOf(openers[next])
      pieces[i].marks |= marks
    }
  }
}

function marksOf({ sign, count }: Opener): number {
  if (sign === '[') return 0
  return sign === '~' ? DEL : (count > 1 ? STRONG : 0) | (count & 1 ? EM : 0)
}

function literalOf({ sign, count }: Opener): string {
  return sign === '[' ? '!['.slice(2 - count) : sign.repeat(count)
}

/** Where the text ends that can be judged: a run at the end may be half a run, and a space may be the line's last. */
function openEnd(source: string): number {
  let end = source.length
  while (end && source.length - end < REACH && UNFINISHED.test(source[end - 1])) end--
  return end
}

function closingRun(source: string, run: string, from: number, end: number): number {
  for (let at = source.indexOf(run, from); at >= 0 && at + run.length <= end; at = source.indexOf(run, at)) {
    let after = at + run.length
    while (source[after] === '`') after++
    if (after - at === run.length) return at
    at = after
  }
  return -1
}

function codeOf(text: string): string {
  return /^ .* $/.test(text) && /\S/.test(text) ? text.slice(1, -1) : text
}

/** What follows an address in a sentence does not belong to it. */
function trimmedUrl(url: string): string {
  let end = url.length
  while (/[.,;:!?'*_~)\]]/.test(url[end - 1]) && !(url[end - 1] === ')' && url.slice(0, end).split('(').length >= url.slice(0, end).split(')').length)) end--
  return url.slice(0, end)
}

function isSafe(url: string): boolean {
  return /^(?:https?:\/\/|mailto:)[^\s\x00-\x1f]+$/i.test(url)
}

function pushPieces(spans: Span[], pieces: readonly Piece[]): void {
  for (const { text, marks, href, image } of pieces) {
    if (image !== undefined) spans.push({ text, image })
    else if (text) pushText(spans, text, NAMES.filter((_, bit) => marks & (1 << bit)).join(' '), href)
  }
}

/** Add text to a list of spans, which is the caller's own. However the text is cut, the spans are the same. */
export function pushText(spans: Span[], text: string, marks = '', href?: string): void {
  const last = spans[spans.length - 1]
  const style = { ...(marks && { marks }), ...(href !== undefined && { href }) }
  let known = 0 // up to here there is no place to cut
  if (last && last.image === undefined && (last.marks || '') === marks && last.href === href) {
    spans.pop()
    text = last.text + text
    known = last.text.length
  }
  for (;;) {
    const cut = cutOf(text, Math.max(known, SHORTEST_SPAN * 2 ** Math.floor(spans.length / SPANS_OF_A_LENGTH)))
    spans.push({ text: text.slice(0, cut), ...style })
    text = text.slice(cut)
    known = 0
    if (!text) return
  }
}

/** The first place from `length` on where no grapheme is cut. */
function cutOf(text: string, length: number): number {
  for (let at = length; at < text.length; at++) if (isCut(text.charCodeAt(at - 1), text.charCodeAt(at))) return at
  return text.length
}

/** Before an ideograph or kana, behind a line, or between two characters of ASCII. */
function isCut(before: number, after: number): boolean {
  if ((after >= 0x3400 && after < 0xa000) || (after > 0x3040 && after < 0x3097) || (after > 0x30a0 && after < 0x30fb)) return true
  return before === 10 || (before >= 32 && before < 127 && after > 32 && after < 127)
}
