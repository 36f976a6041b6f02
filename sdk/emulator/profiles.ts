/**
 * What differs from host to host. Facts are those of the project's collection of field reports, "WeChat mini programs:
 * what the platform really does" (field/wechat.md, the table of section 1.1), whose row is named at each quirk.
 */

import type { SystemInfo } from './wx.js'

export interface Profile {
  system: SystemInfo
  /**
   * How a streamed response comes. `live`: as it arrives.
   * `once`: in one chunk at the end ("one-shot on device": DevTools streams, the phone returns everything at once).
   * `never`: in `success` only ("PC client": onChunkReceived never fires, the body arrives in `success`).
   * `unknown`: the base library is older than 2.20.2 and ignores `enableChunked` ("versions").
   * `fails`: the request fails as soon as `enableChunked` is set ("Android real-device debugging").
   */
  chunks: 'live' | 'once' | 'never' | 'unknown' | 'fails'
  /** "chunk data": in DevTools it can be a Uint8Array, where the typings promise an ArrayBuffer. */
  views: boolean
  /** "DevTools": garbled Chinese. Each chunk passes a text decoder that knows nothing of the chunk before it. */
  garbles: boolean
  /** "DevTools": no `statusCode` in onHeadersReceived. */
  tellsStatus: boolean
  /** "iOS bug": with two concurrent chunked requests only the last gets callbacks. */
  onlyLastStream: boolean
  /** "DevTools": abort not working while chunked. "abort": also reported of devices, see the emulator's options. */
  ignoresAbort: boolean
  /** "success in chunk mode": the data came via chunks; `res.data` is empty, or a part of it, which is the last piece here. */
  afterChunks: 'nothing' | 'last piece'
}

function systemInfo(platform: SystemInfo['platform'], system: string, version: string, SDKVersion: string): SystemInfo {
  return { platform, system, brand: platform, model: 'emulator', version, SDKVersion }
}

const ANDROID: Profile = {
  system: systemInfo('android', 'Android 14', '8.0.56', '3.7.8'),
  chunks: 'live', views: false, garbles: false, tellsStatus: true, onlyLastStream: false, ignoresAbort: false, afterChunks: 'nothing',
}

const IOS: Profile = { ...ANDROID, system: systemInfo('ios', 'iOS 17.5', '8.0.56', '3.7.8'), afterChunks: 'last piece' }

export type ProfileName =
  | 'android' | 'android-debugging' | 'ios' | 'devtools' | 'pc' | 'baselib-2.19' | 'baselib-3.8.11' | 'ios-8.0.54'

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  android: ANDROID,
  'android-debugging': { ...ANDROID, chunks: 'fails' },
  ios: IOS,
  devtools: {
    ...ANDROID, system: systemInfo('devtools', 'Windows 10 x64', '8.0.5', '3.7.8'),
    views: true, garbles: true, tellsStatus: false, ignoresAbort: true,
  },
  pc: { ...ANDROID, system: systemInfo('windows', 'Windows 11', '3.9.12', '3.7.8'), chunks: 'never' },
  'baselib-2.19': { ...ANDROID, system: systemInfo('android', 'Android 9', '8.0.10', '2.19.6'), chunks: 'unknown' },
  'baselib-3.8.11': { ...ANDROID, system: systemInfo('android', 'Android 14', '8.0.61', '3.8.11'), chunks: 'once' },
  'ios-8.0.54': { ...IOS, system: systemInfo('ios', 'iOS 17.5', '8.0.54', '3.7.8'), onlyLastStream: true },
}
