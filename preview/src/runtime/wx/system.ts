/** What `wx` says of the phone, and the few things that it does with it. */

import type { Profile } from '../../../../sdk/emulator/profiles.js'
import { call, createListeners } from './calls.js'

export type Theme = 'light' | 'dark'

export interface Phone {
  profile: Profile
  theme: Theme
  isOnline: boolean
  /** Whether the frame draws a navigation bar above the window, which else is the whole screen. */
  hasBar: boolean
  /** CSS pixels. */
  statusBarHeight: number
  safeBottom: number
}

/** What the frame draws above the window: the status bar and, below it, the navigation bar. */
export const NAVIGATION_BAR = 44

export function createSystem(phone: Phone, hasDarkMode: boolean, note: (kind: string, value: unknown) => void) {
  const themeListeners = createListeners<{ theme: Theme }>()
  const networkListeners = createListeners<{ isConnected: boolean; networkType: string }>()
  const keyboardListeners = createListeners<{ height: number; duration: number }>()
  const resizeListeners = createListeners<{ size: { windowWidth: number; windowHeight: number } }>()
  addEventListener('resize', () => resizeListeners.tell({ size: { windowWidth: innerWidth, windowHeight: innerHeight } }))
  let clipboard = ''

  const networkType = () => (phone.isOnline ? 'wifi' : 'none')
  const deviceInfo = () => {
    const { brand, model, platform, system } = phone.profile.system
    return { brand, model, platform, system, abi: 'arm64-v8a', benchmarkLevel: 30, memorySize: 6144, cpuType: '' }
  }
  const windowInfo = () => {
    const { statusBarHeight, safeBottom, hasBar } = phone
    const above = hasBar ? statusBarHeight + NAVIGATION_BAR : 0
    const screenHeight = innerHeight + above
    const safeArea = {
      left: 0,
      right: innerWidth,
      top: statusBarHeight,
      bottom: screenHeight - safeBottom,
      width: innerWidth,
      height: screenHeight - safeBottom - statusBarHeight,
    }
    return {
      pixelRatio: devicePixelRatio,
      screenWidth: innerWidth,
      screenHeight,
      windowWidth: innerWidth,
      windowHeight: innerHeight,
      statusBarHeight,
      safeArea,
      screenTop: above,
    }
  }
  const baseInfo = () => {
    const { version, SDKVersion } = phone.profile.system
    return {
      version,
      SDKVersion,
      language: 'zh_CN',
      enableDebug: false,
      fontSizeScaleFactor: 1,
      fontSizeSetting: 16,
      host: { env: 'WeChat' },
      ...(hasDarkMode ? { theme: phone.theme } : {}),
    }
  }
  const systemInfo = () => ({ ...deviceInfo(), ...windowInfo(), ...baseInfo() })

  return {
    tell: {
      theme: () => themeListeners.tell({ theme: phone.theme }),
      network: () => networkListeners.tell({ isConnected: phone.isOnline, networkType: networkType() }),
      keyboard: (height: number) => keyboardListeners.tell({ height, duration: 0.25 }),
    },
    wx: {
      getSystemInfoSync: systemInfo,
      getSystemInfo: call('getSystemInfo', systemInfo),
      getSystemInfoAsync: call('getSystemInfoAsync', systemInfo),
      getWindowInfo: windowInfo,
      getDeviceInfo: deviceInfo,
      getAppBaseInfo: baseInfo,
      getMenuButtonBoundingClientRect: () => {
        const top = phone.statusBarHeight + 6
        return { width: 87, height: 32, top, bottom: top + 32, left: innerWidth - 94, right: innerWidth - 7 }
      },
      getNetworkType: call('getNetworkType', () => ({ networkType: networkType() })),
      onNetworkStatusChange: networkListeners.on,
      offNetworkStatusChange: networkListeners.off,
      onThemeChange: themeListeners.on,
      offThemeChange: themeListeners.off,
      onKeyboardHeightChange: keyboardListeners.on,
      offKeyboardHeightChange: keyboardListeners.off,
      onWindowResize: resizeListeners.on,
      offWindowResize: resizeListeners.off,
      hideKeyboard: call('hideKeyboard', () => (document.activeElement as HTMLElement | null)?.blur()),
      setClipboardData: call('setClipboardData', ({ data }: { data: string }) => {
        clipboard = String(data)
        note('clipboard', clipboard)
        // Where the browser lets it; a headless one may not.
        navigator.clipboard?.writeText(clipboard).catch(() => {})
        return { data: clipboard }
      }),
      getClipboardData: call('getClipboardData', () => ({ data: clipboard })),
      vibrateShort: call('vibrateShort', () => note('vibrate', 'short')),
      vibrateLong: call('vibrateLong', () => note('vibrate', 'long')),
      setKeepScreenOn: call('setKeepScreenOn', ({ keepScreenOn }: { keepScreenOn: boolean }) => note('keepScreenOn', keepScreenOn)),
      getBatteryInfoSync: () => ({ level: 80, isCharging: false }),
    },
  }
}
