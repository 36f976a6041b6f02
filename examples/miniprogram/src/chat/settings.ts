/** What can be set on the phone, in development builds only; a shipped program has what config.ts says. */

import { GATEWAY, MODEL } from '../config'
import type { Storage } from './store'

export interface Settings {
  /** The gateway's address, without a slash at the end. */
  gateway: string
  /** Sent instead of a log-in by `wx.login`; "" where there is none. */
  token: string
  model: string
}

const KEY = 'dazi:settings'

export function readSettings(storage: Storage, isDevelopment: boolean): Settings {
  const shipped = { gateway: GATEWAY, token: '', model: MODEL }
  return isDevelopment ? { ...shipped, ...(storage.getStorageSync(KEY) as Partial<Settings>) } : shipped
}

export function writeSettings(storage: Storage, settings: Settings): void {
  storage.setStorageSync(KEY, { ...settings, gateway: settings.gateway.trim().replace(/\/+$/, ''), token: settings.token.trim() })
}

/** What is wrong with an address, in words; "" where nothing is. */
export function faultOf(gateway: string): string {
  return /^https?:\/\/[^\s/?#]+/.test(gateway.trim()) ? '' : '网关地址要以 https:// 开头，例如 https://chat.example.com'
}
