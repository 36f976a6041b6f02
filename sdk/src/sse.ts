/**
 * Server-sent events after the WHATWG HTML standard, section 9.2: an incremental parser, without I/O.
 *
 * The twin of Python's `dazi.sse.Parser`, and of its laws:
 * - any chunking of the same bytes gives the same events, and each event is out in the very feed that completes it;
 * - what a feed was given may be overwritten as soon as it returns;
 * - bytes that are not UTF-8 become U+FFFD; they never stop the stream;
 * - an event that the stream does not finish is never delivered, and its id is not remembered;
 * - the work is linear in the bytes, however they are cut, and what is kept never exceeds the limit;
 * - the last event id and the reconnection time outlive the body that set them (`nextBody`).
 */

import { createUtf8Decoder } from './utf8.js'

/** One event, as an `EventSource` would deliver it. */
export interface ServerSentEvent {
  /** Its type; `message` where the stream names none. */
  event: string
  data: string
  /** The last event id of the stream as it stands with this event; "" while nothing set it. */
  id: string
  /** The reconnection time of the stream in milliseconds as it stands with this event; null while nothing set it. */
  retry: number | null
}

/** What the platforms deliver: `ArrayBuffer` (phones), `Uint8Array` (DevTools), text (the whole body at the end). */
export type Chunk = ArrayBuffer | ArrayBufferView | string

export interface SseParser {
  /**
   * Take the next chunk and return the events that it completes.
   *
   * Throws `EventTooLarge` when an unfinished event is longer than the limit, and at every feed from then on. Events
   * completed before it in the same chunk are returned first; then the next feed throws.
   */
  feed(chunk: Chunk): ServerSentEvent[]
  /** Start over with the next body (after a reconnect): only the last event id and the retry time persist. */
  nextBody(): void
  /** What a reconnecting client sends as `Last-Event-ID`. */
  lastEventId(): string
  /** The reconnection time in milliseconds, or null. */
  retry(): number | null
}

export class EventTooLarge extends Error {
  override name = 'EventTooLarge'
  constructor(readonly limit: number) {
    super(`An event is longer than the limit of ${limit} characters; raise it, or send smaller events.`)
  }
}

// A whole answer in one frame (a snapshot, or an image as base64) fits; an endless line does not eat the phone.
const DEFAULT_LIMIT = 1 << 23

// How long a fragment grows before it is put aside: longer, and byte by byte is slow; shorter, and the list is long.
const PART = 1024

/** Make a parser. `limit`: the most characters (UTF-16 units) of an unfinished event that are kept. */
export function createSseParser(limit = DEFAULT_LIMIT): SseParser {
  let decoder = createUtf8Decoder()
  let line = '' // the end of the line that has not ended yet
  let lineParts: string[] = [] // what is before it; apart, since some engines copy the whole of a string to add to it
  let lineLength = 0 // of both
  let data: string[] = [] // "data buffer": the values of this block's data lines
  let held = 0 // how long those data lines were
  let type = '' // "event type buffer"
  let id = '' // "last event ID buffer": becomes the last event id when its block ends
  let lastId = ''
  let retry: number | null = null
  let atStart = true // until the first line has ended: it may begin with a byte order mark
  let afterCr = false // a LF that comes next belongs to the CR that ended the last chunk
  let idle = false // between two blocks with nothing kept, which the fast way asks for
  let overflowed = false // an event passed the limit; nothing after it can be trusted

  function feedText(text: string, events: ServerSentEvent[]): void {
    if (!text) return
    if (afterCr && text[0] === '\n') text = text.slice(1)
    afterCr = text.endsWith('\r')
    if (text.indexOf('\r') >= 0) text = text.replace(/\r\n?/g, '\n')
    let at = 0
    for (;;) {
      if (idle) at = feedPlainBlocks(text, at, events)
      const end = text.indexOf('\n', at)
      if (end < 0) break
      endLine(text.slice(at, end), events)
      if (overflowed) return
      at = end + 1
    }
    if (at < text.length) keep(text.slice(at))
    if (held + lineLength > limit) overflow()
  }

  function keep(fragment: string): void {
    idle = false
    line += fragment
    lineLength += fragment.length
    if (line.length < PART) return
    lineParts.push(line)
    line = ''
  }

  /** Nearly every block is one line of data; they are not taken apart. Answers where the first other line begins. */
  function feedPlainBlocks(text: string, at: number, events: ServerSentEvent[]): number {
    while (text.startsWith('data: ', at)) {
      const lf = text.indexOf('\n', at)
      if (lf < 0 || text.charCodeAt(lf + 1) !== 10 || lf - at > limit) break
      events.push({ event: 'message', data: text.slice(at + 6, lf), id, retry })
      at = lf + 2
    }
    return at
  }

  /** Take a line, whose beginning may have come before. */
  function endLine(rest: string, events: ServerSentEvent[]): void {
    if (held + lineLength + rest.length > limit) return overflow()
    let whole = lineLength ? lineParts.join('') + line + rest : rest
    if (lineLength) dropLine()
    if (atStart && whole.charCodeAt(0) === 0xfeff) whole = whole.slice(1)
    atStart = false
    idle = !whole
    if (idle) endBlock(events)
    else takeField(whole)
  }

  function takeField(field: string): void {
    const colon = field.indexOf(':')
    const name = colon < 0 ? field : field.slice(0, colon)
    const value = colon < 0 ? '' : field.slice(colon + (field.charCodeAt(colon + 1) === 32 ? 2 : 1))
    if (name === 'data') {
      data.push(value)
      held += field.length
    } else if (name === 'event') type = value
    else if (name === 'id' && value.indexOf('\0') < 0) id = value
    // 31,000 years: longer numbers are no time to wait for, and past 2**53 they would not be exact.
    else if (name === 'retry' && /^\d{1,15}$/.test(value)) retry = +value
  }

  function endBlock(events: ServerSentEvent[]): void {
    lastId = id
    if (held) events.push({ event: type || 'message', data: data.join('\n'), id, retry })
    dropBlock()
  }

  function dropLine(): void {
    line = ''
    lineParts = []
    lineLength = 0
  }

  function dropBlock(): void {
    if (held) data = []
    held = 0
    type = ''
  }

  function overflow(): void {
    overflowed = true
    dropLine()
    dropBlock()
  }

  return {
    feed(chunk) {
      const events: ServerSentEvent[] = []
      if (!overflowed) feedText(typeof chunk === 'string' ? chunk : decoder.decode(bytesOf(chunk)), events)
      if (overflowed && !events.length) throw new EventTooLarge(limit)
      return events
    },
    nextBody() {
      decoder = createUtf8Decoder()
      overflowed = afterCr = idle = false
      atStart = true
      id = lastId
      dropLine()
      dropBlock()
    },
    lastEventId: () => lastId,
    retry: () => retry,
  }
}

/** A body that is all there. */
export function textOf(body: Chunk): string {
  return typeof body === 'string' ? body : createUtf8Decoder().decode(bytesOf(body))
}

// `isView` for the rest, not `instanceof`: some hosts hand out buffers that another realm made.
function bytesOf(chunk: ArrayBuffer | ArrayBufferView): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk
  return ArrayBuffer.isView(chunk) ? new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength) : new Uint8Array(chunk)
}
