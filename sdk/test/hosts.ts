/** The hosts of all platforms, faked over `fetch` as ../shared/field/wechat.md describes them. */

import { fetchPlatform } from '../src/platform/fetch.js'
import { createMyPlatform, type MyRequestOptions } from '../src/platform/my.js'
import { createTaroPlatform } from '../src/platform/taro.js'
import { createTtPlatform, type TtEventSourceOptions, type TtMessage } from '../src/platform/tt.js'
import { createUniPlatform } from '../src/platform/uni.js'
import { createWxPlatform, type WxRequestOptions, type WxRequestTask } from '../src/platform/wx.js'
import type { Platform } from '../src/platform.js'
import { createSseParser } from '../src/sse.js'

export interface Host {
  platform: Platform
  /** What the platform has to declare. */
  streams: boolean
  /** Whether a streamed response shows what a server says when it refuses. */
  showsRefusals: boolean
  /** Whether an abort closes the connection. */
  aborts: boolean
  hide?(): void
  show?(): void
}

type Task = Required<WxRequestTask>
type Listener = () => void

function createApp() {
  const listeners = { hide: new Set<Listener>(), show: new Set<Listener>() }
  return {
    events: {
      onAppHide: (listener: Listener) => void listeners.hide.add(listener),
      onAppShow: (listener: Listener) => void listeners.show.add(listener),
      offAppHide: (listener: Listener) => void listeners.hide.delete(listener),
      offAppShow: (listener: Listener) => void listeners.show.delete(listener),
    },
    hide: () => listeners.hide.forEach((listener) => listener()),
    show: () => listeners.show.forEach((listener) => listener()),
  }
}

interface Faults {
  ignoresAbort?: boolean
  chunks?: boolean
  views?: boolean
}

/** `wx.request`: chunks as buffers, any status to `success`, whose data is empty where chunks came. */
function request(options: WxRequestOptions, { ignoresAbort = false, chunks = true, views = false }: Faults = {}): Task {
  const controller = new AbortController()
  const listeners: ((result: { data: ArrayBuffer }) => void)[] = []
  const { url, method, header, data, responseType } = options
  const isChunked = chunks && !!options.enableChunked

  async function receive(): Promise<() => void> {
    const response = await fetch(url, { method, headers: header, ...(data && { body: data }), signal: controller.signal })
    const kept: Uint8Array[] = []
    for await (const bytes of response.body || []) {
      if (!isChunked) kept.push(bytes)
      // DevTools give a view where the types promise a buffer; hence the cast.
      else listeners.forEach((listener) => listener({ data: (views ? bytes : bytes.slice().buffer) as ArrayBuffer }))
    }
    const body = Buffer.concat(kept)
    const result = responseType === 'text' ? body.toString() : new Uint8Array(body).buffer
    return () => options.success({ statusCode: response.status, data: isChunked ? '' : result })
  }

  receive()
    .catch((error: Error) => () => options.fail({ errMsg: `request:fail ${error.message}` }))
    .then((report) => report())
  return {
    abort: () => !ignoresAbort && controller.abort(),
    onChunkReceived: (listener) => void listeners.push(listener),
  }
}

function createWxHost(faults: Faults = {}): Host {
  const app = createApp()
  const canIUse = () => faults.chunks !== false
  const platform = createWxPlatform({ request: (options) => request(options, faults), canIUse, ...app.events })
  return { platform, streams: canIUse(), showsRefusals: true, aborts: !faults.ignoresAbort, ...app }
}

/** `my.request`: no chunks, other names, and a status of failure goes to `fail`, as error 19. */
function createMyHost(): Host {
  const app = createApp()
  function myRequest({ headers, success, fail, dataType, ...rest }: MyRequestOptions) {
    const failed = ({ errMsg }: { errMsg: string }) => fail({ error: 12, errorMessage: errMsg })
    const done = ({ statusCode: status, data }: { statusCode: number; data: unknown }) =>
      status < 300 ? success({ status, data }) : fail({ error: 19, errorMessage: 'http status error', status, data })
    return request({ ...rest, dataType, header: headers, responseType: 'text', success: done, fail: failed }, { chunks: false })
  }
  return { platform: createMyPlatform({ request: myRequest, ...app.events }), streams: false, showsRefusals: true, aborts: true, ...app }
}

/** `tt.createEventSource`: events that are parsed already, no status, and a refusal is an error. */
function createTtHost(): Host {
  const app = createApp()
  function createEventSource({ url, method, header, data }: TtEventSourceOptions) {
    const controller = new AbortController()
    const listeners = { message: (_: TtMessage) => {}, error: (_: { errMsg: string }) => {}, close: () => {} }
    const receive = async () => {
      const response = await fetch(url, { method, headers: header, ...(data && { body: data }), signal: controller.signal })
      if (response.status !== 200) throw new Error('bad status')
      const parser = createSseParser()
      for await (const bytes of response.body || []) for (const { data, event, id } of parser.feed(bytes)) listeners.message({ data, event, id })
    }
    receive().then(() => listeners.close(), (error: Error) => listeners.error({ errMsg: error.message }))
    return {
      onMessage: (listener: (message: TtMessage) => void) => void (listeners.message = listener),
      onError: (listener: (error: { errMsg?: string }) => void) => void (listeners.error = listener),
      onClose: (listener: () => void) => void (listeners.close = listener),
      close: () => controller.abort(),
    }
  }
  const platform = createTtPlatform({ request: (options) => request(options, { chunks: false }), canIUse: () => false, createEventSource, ...app.events })
  return { platform, streams: true, showsRefusals: false, aborts: true, ...app }
}

function createOldTtHost(): Host {
  const app = createApp()
  const platform = createTtPlatform({ request: (options) => request(options), canIUse: () => true, ...app.events })
  return { platform, streams: true, showsRefusals: true, aborts: true, ...app }
}

/** `uni.request`: a bare Promise, without a task, unless one of the three callbacks is passed. */
function createUniHost(): Host {
  const app = createApp()
  function uniRequest(options: WxRequestOptions): Task {
    const isTask = 'success' in options || 'fail' in options || 'complete' in options
    // What a caller gets who passes none of them has no methods of a task; hence the cast.
    return isTask ? request(options) : (Promise.resolve() as unknown as Task)
  }
  return { platform: createUniPlatform({ request: uniRequest, canIUse: () => true, ...app.events }), streams: true, showsRefusals: true, aborts: true, ...app }
}

/** `Taro.request`: a task that is a Promise as well, rejected when the request fails. */
function createTaroHost(): Host {
  const app = createApp()
  function taroRequest(options: WxRequestOptions) {
    let task: Task | undefined
    const promise = new Promise((resolve, reject) => {
      const success = (result: { statusCode: number; data: unknown }) => (options.success(result), resolve(result))
      const fail = (error: { errMsg: string }) => (options.fail(error), reject(error))
      task = request({ ...options, success, fail })
    })
    return Object.assign(promise, task as Task)
  }
  return { platform: createTaroPlatform({ request: taroRequest, canIUse: () => true, ...app.events }), streams: true, showsRefusals: true, aborts: true, ...app }
}

export const HOSTS: Record<string, () => Host> = {
  fetch: () => ({ platform: fetchPlatform, streams: true, showsRefusals: true, aborts: true }),
  wx: () => createWxHost(),
  'wx, DevTools': () => createWxHost({ views: true }),
  'wx, abort ignored': () => createWxHost({ ignoresAbort: true }),
  'wx before 2.20.2': () => createWxHost({ chunks: false }),
  my: createMyHost,
  tt: createTtHost,
  'tt before 3.35.0': createOldTtHost,
  uni: createUniHost,
  taro: createTaroHost,
}
