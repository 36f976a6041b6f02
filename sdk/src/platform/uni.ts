/**
 * uni-app. Capabilities: those of the host that the program is built for, asked by `uni.canIUse`; where a host promises
 * chunks and gives none, the client finds out and polls.
 *
 * `uni.request` answers a Promise, which has no `onChunkReceived`, unless one of `success`, `fail` and `complete` is
 * passed. The platform of WeChat passes them, and `uni` has its shape otherwise.
 */

import type { Clock } from '../clock.js'
import type { Platform } from '../platform.js'
import { createWxPlatform, type Wx } from './wx.js'

export type Uni = Wx

export function createUniPlatform(uni: Uni, clock?: Clock): Platform {
  return createWxPlatform(uni, clock)
}
