/** What the address of the preview's page may say: `?app=chat&profile=ios&theme=dark`. */

import { PROFILES, type ProfileName } from '../../sdk/emulator/profiles.js'
import type { Cut } from '../../sdk/emulator/pieces.js'

export interface Parameters {
  /** Name of the folder; '' for the first that is served. */
  app: string
  /** First page, with its query; '' for the program's own. */
  page: string
  profile: ProfileName
  /** Where on this machine all requests go; '' for the gateway that the preview was started with, `none` for where the program says. */
  gateway: string
  seed: number
  /** '' for what the browser says. */
  theme: 'light' | 'dark' | ''
  cut: Cut
  /** How many times faster the emulator's clock runs: of the 5 s in the background, the 60 s of a request. */
  speed: number
  /** Name of the user whom `wx.login` logs in. */
  user: string
  /** Whether a keyboard comes up when a field has the focus. */
  keyboard: boolean
  /** Whether storage begins empty. */
  fresh: boolean
  /** CSS pixels. */
  safeBottom: number
  statusBar: number
}

const CUTS: readonly string[] = ['none', 'bytes', 'random', 'glued'] satisfies Cut[]

const HERE = /^http:\/\/(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?\/?$/

/** Read them; throws an `Error` that names a value which cannot be. */
export function readParameters(search: string): Parameters {
  const query = new URLSearchParams(search)
  const text = (name: string, otherwise = '') => query.get(name) ?? otherwise
  const number = (name: string, otherwise: number) => {
    const value = Number(text(name, String(otherwise)))
    if (!Number.isFinite(value)) throw new Error(`${name}=${text(name)}: a number is needed.`)
    return value
  }
  const one = <T extends string>(name: string, otherwise: T, all: readonly string[]) => {
    const value = text(name, otherwise)
    if (!all.includes(value)) throw new Error(`${name}=${value}: it is one of ${all.filter(Boolean).join(', ')}.`)
    return value as T
  }
  const gateway = text('gateway')
  // A link from elsewhere shall not lead what a program says to a stranger.
  if (gateway && gateway !== 'none' && !HERE.test(gateway))
    throw new Error(`gateway=${gateway}: only one on this machine; another is named when the preview is started (GATEWAY=…).`)
  const profile = one<ProfileName>('profile', 'android', Object.keys(PROFILES))
  return {
    app: text('app'),
    page: text('page'),
    profile,
    gateway,
    seed: number('seed', 1),
    theme: one('theme', '', ['', 'light', 'dark']),
    cut: one('cut', 'none', CUTS),
    speed: number('speed', 1),
    user: text('user', 'developer'),
    keyboard: text('keyboard') === '1',
    fresh: text('fresh') === '1',
    safeBottom: number('safe', profile.startsWith('ios') ? 34 : 0),
    statusBar: number('status', profile.startsWith('ios') ? 47 : 28),
  }
}
