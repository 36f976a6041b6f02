/**
 * Alipay mini programs. Capabilities: no chunks, so answers are polled; all else as asked for.
 *
 * What `my` does otherwise than `wx`: `headers` and `status` are called so; a status that is not 2xx comes to `fail`.
 */

import { systemClock, type Clock } from '../clock.js'
import type { Platform } from '../platform.js'
import { watchApp, type AppEvents } from './app.js'

/** As much of `my` as is used. */
export interface My extends AppEvents {
  request(options: MyRequestOptions): { abort(): void } | undefined
}

export interface MyRequestOptions {
  url: string
  method: 'GET' | 'POST'
  headers: Record<string, string>
  data?: string
  dataType: 'text'
  timeout: number
  success(result: { status: number; data: unknown }): void
  fail(error: { error?: number | string; errorMessage?: string; status?: number; data?: unknown }): void
}

// A poll waits 20 s at the gateway; longer than that nobody waits for an answer.
const TIMEOUT = 60_000

export function createMyPlatform(my: My, clock: Clock = systemClock): Platform {
  return {
    streams: false,
    clock,
    send({ url, method, headers, body }, reception) {
      let isOpen = true
      const once = (report: () => void) => {
        if (isOpen) report()
        isOpen = false
      }
      const task = my.request({
        url,
        method,
        headers,
        ...(body === undefined ? {} : { data: body }),
        dataType: 'text', // the default would be parsed
        timeout: TIMEOUT,
        success: ({ status, data }) => once(() => reception.end(status, textOf(data))),
        fail: ({ error, errorMessage, status, data }) =>
          once(() => (status && status >= 300 ? reception.end(status, textOf(data)) : reception.fail(`${errorMessage || error}`))),
      })
      return () => {
        if (isOpen && task) task.abort()
        isOpen = false
      }
    },
    watchVisibility: (listener) => watchApp(my, listener),
  }
}

/** Some versions parse the body of an error, whatever was asked for. */
function textOf(data: unknown): string {
  return typeof data === 'string' ? data : data ? JSON.stringify(data) : ''
}
