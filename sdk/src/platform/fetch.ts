/** Browsers, Node, and whatever else has `fetch`. */

import { systemClock } from '../clock.js'
import type { Platform, PlatformRequest, Reception } from '../platform.js'

// Declared here, as much as is used, so that no program needs the DOM's types for it.
interface FetchResponse {
  status: number
  body: { getReader(): { read(): Promise<{ done: boolean; value?: Uint8Array }> } } | null
  text(): Promise<string>
}

declare const AbortController: new () => { signal: unknown; abort(): void }
declare const fetch: (url: string, options: object) => Promise<FetchResponse>
declare const document:
  | { hidden: boolean; addEventListener(type: string, listener: () => void): void; removeEventListener(type: string, listener: () => void): void }
  | undefined

export const fetchPlatform: Platform = {
  streams: true,
  clock: systemClock,
  send(request, reception) {
    const controller = new AbortController()
    let isOpen = true
    const once = (report: () => void) => {
      if (isOpen) report()
    }
    receive(request, controller.signal, {
      chunk: (chunk) => once(() => reception.chunk(chunk)),
      end: (status, body) => once(() => reception.end(status, body)),
      fail: (reason) => once(() => reception.fail(reason)),
    })
    return () => {
      isOpen = false
      controller.abort()
    }
  },
  watchVisibility(listener) {
    if (typeof document === 'undefined') return () => {}
    const page = document
    const report = () => listener(!page.hidden)
    page.addEventListener('visibilitychange', report)
    return () => page.removeEventListener('visibilitychange', report)
  },
}

async function receive(request: PlatformRequest, signal: unknown, reception: Reception): Promise<void> {
  const { method, headers, body } = request
  let status = 0
  let text = ''
  try {
    const response = await fetch(request.url, { method, headers, body, signal })
    status = response.status
    // What a server says when it refuses is no stream.
    if (request.streamed && status === 200 && response.body) await pump(response.body.getReader(), reception)
    else text = await response.text()
  } catch (error) {
    return reception.fail(String(error))
  }
  // Outside of the block above: an error of the caller's is not the network's.
  reception.end(status, text)
}

async function pump(reader: { read(): Promise<{ done: boolean; value?: Uint8Array }> }, reception: Reception): Promise<void> {
  for (;;) {
    const { done, value } = await reader.read()
    if (value) reception.chunk(value)
    if (done) return
  }
}
