/**
 * The face of `wx`, as much as is emulated, in the words of `miniprogram-api-typings` without needing them: a test holds
 * the two together.
 */

export type Data = string | Record<string, any> | ArrayBuffer // any: what the typings call IAnyObject

export interface RequestOption<T extends Data = Data> {
  url: string
  method?: 'OPTIONS' | 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE' | 'TRACE' | 'CONNECT'
  header?: Record<string, any>
  data?: Data
  dataType?: string
  responseType?: 'text' | 'arraybuffer'
  enableChunked?: boolean
  timeout?: number
  success?(result: SuccessResult<T>): void
  fail?(error: FailResult): void
  complete?(result: { errMsg: string }): void
}

export interface RequestException {
  reasons: { errMsg: string; errno: string }[]
  /** How often the network layer has repeated this request by itself. */
  retryCount: number
}

export interface HeadersResult {
  cookies: string[]
  header: Record<string, any>
  statusCode: number
}

export interface SuccessResult<T extends Data = Data> extends HeadersResult {
  data: T
  exception: RequestException
  errMsg: string
}

export interface FailResult {
  errMsg: string
  errno: number
  exception: RequestException
  useHttpDNS: boolean
}

export type ChunkListener = (result: { data: ArrayBuffer }) => void
export type HeadersListener = (result: HeadersResult) => void

export interface RequestTask {
  abort(): void
  onChunkReceived(listener: ChunkListener): void
  offChunkReceived(listener?: ChunkListener): void
  onHeadersReceived(listener: HeadersListener): void
  offHeadersReceived(listener?: HeadersListener): void
}

export interface SystemInfo {
  platform: 'android' | 'ios' | 'devtools' | 'windows'
  system: string
  brand: string
  model: string
  version: string
  SDKVersion: string
}

/** The real one is told how the program was opened; that is not emulated. */
export type VisibilityListener = (options: any) => void // any: a listener may ask for as much of it as it likes

export interface Wx {
  request<T extends Data = Data>(option: RequestOption<T>): RequestTask
  canIUse(schema: string): boolean
  getSystemInfoSync(): SystemInfo
  onAppHide(listener: VisibilityListener): void
  offAppHide(listener?: VisibilityListener): void
  onAppShow(listener: VisibilityListener): void
  offAppShow(listener?: VisibilityListener): void
}
