/** What the core asks of a platform; each in src/platform/ is one. */

import type { Clock } from './clock.js'
import type { Chunk } from './sse.js'

export interface PlatformRequest {
  method: 'GET' | 'POST'
  url: string
  headers: Record<string, string>
  body?: string
  /** Whether the response is wanted chunk by chunk. */
  streamed: boolean
}

export interface Reception {
  /** The next bytes of a streamed response. */
  chunk(chunk: Chunk): void
  /** The response is complete, whatever its status; `body` is all of it, or empty where chunks have brought it. */
  end(status: number, body: Chunk): void
  /** There is no response, or it broke. */
  fail(reason: string): void
}

export interface Platform {
  /** Whether chunks can come at all; where they may or may not, true. */
  readonly streams: boolean
  readonly clock: Clock
  /**
   * Send a request; answers how to cancel it.
   *
   * Exactly one of `end` and `fail` is called, once, after all chunks and never before `send` returns; nothing is
   * called after a cancel, even where the host's abort does nothing.
   */
  send(request: PlatformRequest, reception: Reception): () => void
  /** Tell when the program goes to the background and comes back; answers how to stop that. */
  watchVisibility(listener: (visible: boolean) => void): () => void
}
