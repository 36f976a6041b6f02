/**
 * Taro. Capabilities: those of the host that the program is built for, asked by `Taro.canIUse`; chunks on WeChat only.
 *
 * `Taro.request` answers a task that is a Promise as well, and calls back besides. When a request fails, that Promise
 * is rejected; nobody waits for it, and some hosts report that as an error of the program.
 */

import type { Clock } from '../clock.js'
import type { Platform } from '../platform.js'
import { createWxPlatform, type Wx, type WxRequestOptions, type WxRequestTask } from './wx.js'

/** As much of `Taro` as is used. */
export interface Taro extends Omit<Wx, 'request'> {
  request(options: WxRequestOptions): (WxRequestTask & { catch?(onRejected: () => void): unknown }) | undefined
}

export function createTaroPlatform(taro: Taro, clock?: Clock): Platform {
  const request = (options: WxRequestOptions) => {
    const task = taro.request(options)
    if (task && task.catch) task.catch(() => {})
    return task
  }
  return createWxPlatform({ ...bound(taro), request }, clock)
}

/** The rest of it; named one by one, since Taro's object makes its members when they are asked for. */
function bound(taro: Taro): Omit<Wx, 'request'> {
  const { canIUse, onAppHide, onAppShow, offAppHide, offAppShow } = taro
  return {
    ...(canIUse && { canIUse: (schema: string) => canIUse.call(taro, schema) }),
    ...(onAppHide && { onAppHide }),
    ...(onAppShow && { onAppShow }),
    ...(offAppHide && { offAppHide }),
    ...(offAppShow && { offAppShow }),
  }
}
