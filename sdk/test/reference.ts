/** The standard's algorithm, on whole bodies: slow, plain, and written without a look at src/sse.ts. */

import type { Stream } from './suites/sse.js'

/** Section 9.2.6, "Interpreting an event stream", line by line; id and retry time go on into the next body. */
export function streamOf(name: string, ...contents: (string | Uint8Array)[]): Stream {
  const bodies = contents.map((content) => Buffer.from(content))
  const stream: Stream = { name, bodies: bodies.map((body) => body.toString('latin1')), events: [], completedAt: [], lastEventId: '', retry: null }
  let before = 0
  for (const body of bodies) {
    let data: string[] = []
    let type = ''
    let id = stream.lastEventId
    for (const { text, end } of lines(body)) {
      const [, field, value = ''] = /^([^:]*)(?::\x20?([^]*))?$/.exec(text) || []
      if (text === '') {
        stream.lastEventId = id
        if (data.length) {
          stream.events.push({ event: type || 'message', data: data.join('\n'), id, retry: stream.retry })
          stream.completedAt.push(before + end)
        }
        data = []
        type = ''
      } else if (field === 'data') data.push(value)
      else if (field === 'event') type = value
      else if (field === 'id' && !value.includes('\0')) id = value
      else if (field === 'retry' && /^[0-9]{1,15}$/.test(value)) stream.retry = Number(value)
    }
    before += body.length
  }
  return stream
}

/** Each finished line with the position behind the first byte of its end. */
function* lines(bytes: Buffer): Iterable<{ text: string; end: number }> {
  let start = bytes.subarray(0, 3).toString('latin1') === '\xef\xbb\xbf' ? 3 : 0
  for (let at = start; at < bytes.length; at++) {
    if (bytes[at] !== 10 && bytes[at] !== 13) continue
    const secondOfTwo = bytes[at] === 10 && bytes[at - 1] === 13
    const line = bytes.subarray(start, at)
    if (!secondOfTwo) yield { text: new TextDecoder('utf-8', { ignoreBOM: true }).decode(line), end: at + 1 }
    start = at + 1
  }
}
