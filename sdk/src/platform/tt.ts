/**
 * Douyin mini programs. Capabilities: streams by `tt.createEventSource` where it exists (base library 3.35.0), else by
 * chunks where they exist, else polls.
 *
 * `createEventSource` parses by itself and shows no status: what a server that refuses says is lost, and its events are
 * written down again as text, so that everything above reads one format.
 */

import type { Clock } from '../clock.js'
import type { Platform, PlatformRequest, Reception } from '../platform.js'
import { createWxPlatform, type Wx } from './wx.js'

/** As much of `tt` as is used. */
export interface Tt extends Wx {
  createEventSource?(options: TtEventSourceOptions): TtEventSource
}

export interface TtEventSourceOptions {
  url: string
  method: 'GET' | 'POST'
  header: Record<string, string>
  data?: string
  timeout: number
}

export interface TtEventSource {
  onMessage(listener: (message: TtMessage) => void): void
  onError(listener: (error: { errMsg?: string }) => void): void
  onClose(listener: () => void): void
  close(): void
}

export interface TtMessage {
  data: string
  event?: string
  id?: string
  lastEventId?: string
}

const TIMEOUT = 600_000

export function createTtPlatform(tt: Tt, clock?: Clock): Platform {
  const requests = createWxPlatform(tt, clock)
  return {
    ...requests,
    streams: !!tt.createEventSource || requests.streams,
    send: (request, reception) => {
      const source = request.streamed && tt.createEventSource && tt.createEventSource(optionsOf(request))
      return source ? receive(source, reception) : requests.send(request, reception)
    },
  }
}

function optionsOf({ url, method, headers, body }: PlatformRequest): TtEventSourceOptions {
  return { url, method, header: headers, timeout: TIMEOUT, ...(body === undefined ? {} : { data: body }) }
}

function receive(source: TtEventSource, reception: Reception): () => void {
  let isOpen = true

  function close(): boolean {
    const wasOpen = isOpen
    isOpen = false
    if (wasOpen) source.close() // also at its end, so that it does not come back by itself
    return wasOpen
  }

  source.onMessage((message) => {
    if (isOpen) reception.chunk(blockOf(message))
  })
  source.onError((error) => {
    if (close()) reception.fail((error && error.errMsg) || 'fail')
  })
  source.onClose(() => {
    if (close()) reception.end(200, '')
  })
  return () => void close()
}

function blockOf({ data, event, id, lastEventId = id }: TtMessage): string {
  const type = event && event !== 'message' ? `event: ${event}\n` : ''
  return `${type}${lastEventId === undefined ? '' : `id: ${lastEventId}\n`}data: ${data.replace(/\n/g, '\ndata: ')}\n\n`
}
