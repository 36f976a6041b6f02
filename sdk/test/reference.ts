/** The standard's algorithm, on the whole stream at once: slow, plain, and written without a look at src/sse.ts. */

import type { ServerSentEvent } from '../src/sse.js'
import type { Stream } from './suites/sse.js'

export function streamOf(name: string, content: string | Uint8Array): Stream {
  const bytes = Buffer.from(content)
  return { name, bytes: bytes.toString('latin1'), ...interpret(bytes) }
}

/** Section 9.2.6, "Interpreting an event stream", line by line. */
export function interpret(bytes: Buffer): { events: ServerSentEvent[]; completedAt: number[] } {
  const events: ServerSentEvent[] = []
  const completedAt: number[] = []
  let data: string[] = []
  let type = ''
  let id = ''
  let retry: number | null = null
  for (const { text, end } of lines(bytes)) {
    const [, name, value] = /^([^:]*)(?::\x20?([^]*))?$/.exec(text) || []
    if (text === '') {
      if (data.length) {
        events.push({ event: type || 'message', data: data.join('\n'), id, retry })
        completedAt.push(end)
      }
      data = []
      type = ''
    } else if (name === 'data') data.push(value ?? '')
    else if (name === 'event') type = value ?? ''
    else if (name === 'id' && !value?.includes('\0')) id = value ?? ''
    else if (name === 'retry' && /^[0-9]{1,15}$/.test(value ?? '')) retry = Number(value)
  }
  return { events, completedAt }
}

/** Each finished line with the position behind the first byte of its end. */
function* lines(bytes: Buffer): Iterable<{ text: string; end: number }> {
  let start = bytes.subarray(0, 3).toString('latin1') === '\xef\xbb\xbf' ? 3 : 0
  for (let at = start; at < bytes.length; at++) {
    if (bytes[at] !== 10 && bytes[at] !== 13) continue
    const crlf = bytes[at] === 10 && bytes[at - 1] === 13
    if (!crlf) yield { text: new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(start, at)), end: at + 1 }
    start = at + 1
  }
}
