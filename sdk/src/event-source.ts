/**
 * Server-sent events from any endpoint, on any platform: what `EventSource` is in browsers, with method, headers and
 * body.
 *
 * Laws: events come as the parser gives them; `onEnd` is called exactly once, unless `close` was called before it; a
 * request that may not be repeated, which is any but GET, is not, unless the caller says that it may; a line that breaks
 * in the background, where mini programs can request nothing, is come back to in the foreground.
 */

import type { Platform } from './platform.js'
import { createSseParser, textOf, type Chunk, type ServerSentEvent } from './sse.js'

export interface EventSourceOptions {
  url: string
  platform: Platform
  method?: 'GET' | 'POST'
  headers?: Record<string, string>
  body?: string
  /** Where to go on, from an earlier source. */
  lastEventId?: string
  /** Whether to come back, with `Last-Event-ID`, when the line breaks. Default: for GET. */
  reconnect?: boolean
  onEvent(event: ServerSentEvent): void
  onEnd(ending: EventSourceEnd): void
}

export interface EventSourceEnd {
  /** `complete`: the server closed the stream. `refused`: it did not answer 200. `lost`: the line broke too often. */
  type: 'complete' | 'refused' | 'lost'
  status: number
  /** What a server that refused said, where the platform shows it. */
  body: string
  /** Of a line that was lost: what the platform said. */
  reason: string
}

const DEFAULT_RETRY = 1000

// What failures in a row double the wait to; a server may ask for more, but not for so long that a timer overflows.
const LONGEST_BACKOFF = 30_000
const LONGEST_RETRY = 3_600_000

const MOST_FAILURES = 10

/** Open a stream of events; answers how to close it. */
export function openEventSource(options: EventSourceOptions): () => void {
  const { platform, method = 'GET', reconnect = method === 'GET', onEvent, onEnd } = options
  const parser = createSseParser()
  if (options.lastEventId) parser.feed(`id: ${options.lastEventId}\n\n`) // as if it had come, so that a stream can reset it
  let failures = 0
  let isOpen = true
  let isVisible = true
  let isDue = false // a request that waits for the foreground
  let cancel = () => {}

  const stopWatching = platform.watchVisibility((visible) => {
    isVisible = visible
    if (visible && isDue) connect()
  })

  function connect(): void {
    isDue = !isVisible
    if (isDue) return
    parser.nextBody()
    const lastEventId = parser.lastEventId()
    const headers = { ...options.headers, Accept: 'text/event-stream', ...(lastEventId && { 'Last-Event-ID': lastEventId }) }
    const body = options.body === undefined ? {} : { body: options.body }
    cancel = platform.send({ method, url: options.url, headers, ...body, streamed: true }, { chunk: take, end, fail })
  }

  function take(chunk: Chunk): void {
    let events: ServerSentEvent[]
    try {
      events = parser.feed(chunk)
    } catch (error) {
      return finish({ type: 'lost', status: 200, body: '', reason: String(error) })
    }
    for (const event of events) {
      if (!isOpen) return
      failures = 0
      onEvent(event)
    }
  }

  function end(status: number, body: Chunk): void {
    if (status !== 200) return finish({ type: status === 204 ? 'complete' : 'refused', status, body: textOf(body), reason: '' })
    take(body)
    comeBack({ type: 'complete', status, body: '', reason: '' })
  }

  function fail(reason: string): void {
    comeBack({ type: 'lost', status: 0, body: '', reason })
  }

  function comeBack(otherwise: EventSourceEnd): void {
    if (!isOpen) return
    if (!reconnect || ++failures > MOST_FAILURES) return finish(otherwise)
    const told = parser.retry()
    const retry = Math.min(LONGEST_RETRY, told === null ? DEFAULT_RETRY : told)
    const wait = Math.max(retry, Math.min(LONGEST_BACKOFF, retry * 2 ** (failures - 1)))
    cancel = platform.clock.later(connect, wait * (1 + Math.random() / 4))
  }

  function finish(ending: EventSourceEnd): void {
    close()
    onEnd(ending)
  }

  function close(): void {
    isOpen = false
    isDue = false
    stopWatching()
    cancel()
  }

  connect()
  return close
}
