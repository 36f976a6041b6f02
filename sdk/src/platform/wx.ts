/**
 * WeChat mini programs, from base library 2.20.2 on chunk by chunk, before that whole.
 *
 * `wx` is handed over and not taken from the air, so that an emulator, or a host that looks like WeChat, can be used.
 */

import { systemClock, type Clock } from '../clock.js'
import type { Platform } from '../platform.js'
import type { Chunk } from '../sse.js'
import { watchApp, type AppEvents } from './app.js'

/** As much of `wx` as is used. */
export interface Wx extends AppEvents {
  request(options: WxRequestOptions): WxRequestTask | undefined
  canIUse?(schema: string): boolean
}

export interface WxRequestOptions {
  url: string
  method: 'GET' | 'POST'
  header: Record<string, string>
  data?: string
  enableChunked?: boolean
  responseType: 'text' | 'arraybuffer'
  dataType: string
  timeout: number
  success(result: { statusCode: number; data: unknown }): void
  fail(error: { errMsg: string }): void
}

export interface WxRequestTask {
  abort(): void
  onChunkReceived?(listener: (result: { data: ArrayBuffer }) => void): void
}

// More than the platform allows; what it allows, differs by version. Silence is watched for elsewhere.
const TIMEOUT = 600_000

export function createWxPlatform(wx: Wx, clock: Clock = systemClock): Platform {
  return {
    streams: !wx.canIUse || wx.canIUse('request.object.enableChunked'),
    clock,
    send({ url, method, headers, body, streamed }, reception) {
      let isOpen = true
      let hasChunks = false
      const close = () => {
        const wasOpen = isOpen
        isOpen = false
        return wasOpen
      }
      const task = wx.request({
        url,
        method,
        header: headers,
        ...(body === undefined ? {} : { data: body }),
        ...(streamed ? { enableChunked: true } : {}),
        responseType: streamed ? 'arraybuffer' : 'text',
        dataType: 'text', // anything but `json`, which would be parsed
        timeout: TIMEOUT,
        success({ statusCode, data }) {
          // Some versions give in `success` once more what came in chunks.
          // What is neither text nor nothing is an ArrayBuffer or, in DevTools, a view of one; hence the cast.
          if (close()) reception.end(statusCode, hasChunks || !data ? '' : (data as Chunk))
        },
        fail({ errMsg }) {
          if (close()) reception.fail(errMsg)
        },
      })
      if (task && task.onChunkReceived && streamed) {
        task.onChunkReceived(({ data }) => {
          hasChunks = true
          if (isOpen) reception.chunk(data)
        })
      }
      return () => {
        if (close() && task) task.abort()
      }
    },
    watchVisibility: (listener) => watchApp(wx, listener),
  }
}
