/** `wx.setStorage` and its kin, over the browser's storage, each program apart. */

import { call } from './calls.js'

// The platform's: of one value, and of all together.
const MOST_BYTES = 1024 * 1024
const MOST_TOTAL = 10 * 1024 * 1024

type Key = { key: string }

export function createStorage(name: string) {
  const prefix = `preview/${name}/`
  const keys = () =>
    Object.keys(localStorage)
      .filter((key) => key.startsWith(prefix))
      .map((key) => key.slice(prefix.length))
  const sizeOf = (key: string) => (localStorage.getItem(prefix + key) || '').length

  function set(key: string, data: unknown): void {
    const text = JSON.stringify({ data })
    if (text.length > MOST_BYTES) throw new Error(`entry size limit reached: ${key}`)
    if (keys().reduce((sum, one) => sum + (one === key ? 0 : sizeOf(one)), text.length) > MOST_TOTAL)
      throw new Error('exceed storage max size')
    localStorage.setItem(prefix + key, text)
  }

  function get(key: string): unknown {
    const text = localStorage.getItem(prefix + key)
    if (text === null) return undefined
    return (JSON.parse(text) as { data: unknown }).data
  }

  const info = () => ({
    keys: keys(),
    currentSize: Math.ceil(keys().reduce((sum, key) => sum + sizeOf(key), 0) / 1024),
    limitSize: MOST_TOTAL / 1024,
  })
  const remove = (key: string) => localStorage.removeItem(prefix + key)
  const clear = () => keys().forEach(remove)

  return {
    setStorageSync(key: string, data: unknown) {
      try {
        set(key, data)
      } catch (error) {
        throw new Error(`setStorageSync:fail ${(error as Error).message}`)
      }
    },
    getStorageSync: (key: string) => get(key) ?? '',
    removeStorageSync: remove,
    clearStorageSync: clear,
    getStorageInfoSync: info,
    setStorage: call('setStorage', ({ key, data }: Key & { data: unknown }) => set(key, data)),
    getStorage: call('getStorage', ({ key }: Key) => {
      const data = get(key)
      if (data === undefined) throw new Error('data not found')
      return { data }
    }),
    removeStorage: call('removeStorage', ({ key }: Key) => remove(key)),
    clearStorage: call('clearStorage', clear),
    getStorageInfo: call('getStorageInfo', info),
  }
}
