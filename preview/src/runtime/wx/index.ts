/**
 * The `wx` that the program sees: the emulator's network, and the rest of it from the files beside this one.
 *
 * Law: what is not here is noted when a program looks for it. It fails when it is called if a phone would ask a person or a
 * device for it (absent.ts); anything else is `undefined`, as in a base library that has it not yet.
 */

import type { Emulator } from '../../../../sdk/emulator/emulator.js'
import type { Program } from '../../program.js'
import type { Application, LaunchOptions } from '../app.js'
import type { Caller } from '../engine.js'
import type { Pages } from '../pages.js'
import { isAbsent } from './absent.js'
import { createAnimation } from './animation.js'
import { call } from './calls.js'

export interface WxOptions {
  program: Program
  emulator: Emulator
  application: Application
  launch: LaunchOptions
  pages: Pages
  login(): Promise<{ code: string }>
  /** A name was looked for that is not here. */
  onMissing(name: string): void
  /** Everything else, by name. */
  parts: object[]
}

// What a program may look for to see where it runs, and what a debugger or a promise looks for.
const QUIET = /^(then|toJSON|constructor|prototype|\$\$typeof|__\w*)$/

export function createWx({ program, emulator, application, launch, pages, login, onMissing, parts }: WxOptions): unknown {
  const all: Record<string, unknown> = Object.assign({}, ...parts, {
    request: emulator.wx.request,
    login: call('login', login),
    checkSession: call('checkSession', () => undefined),
    createAnimation,
    nextTick: (callback: () => void) => void setTimeout(callback),
    // Before there is a page, a component that is being made says where to look.
    createSelectorQuery: () => pages.top()?.caller['createSelectorQuery']() ?? { in: (caller: Caller) => caller['createSelectorQuery']() },
    createIntersectionObserver: (component: { createIntersectionObserver(option?: object): unknown }, option?: object) =>
      component.createIntersectionObserver(option),
    getLaunchOptionsSync: () => launch,
    getEnterOptionsSync: () => launch,
    getExtConfigSync: () => program.ext,
    getExtConfig: call('getExtConfig', () => ({ extConfig: program.ext })),
    getAccountInfoSync: () => ({ miniProgram: { appId: program.appid, envVersion: 'develop', version: '' } }),
    getUpdateManager: () => ({ onCheckForUpdate: ignore, onUpdateReady: ignore, onUpdateFailed: ignore, applyUpdate: ignore }),
    onAppShow: listening(application, 'listen', 'Show'),
    offAppShow: listening(application, 'unlisten', 'Show'),
    onAppHide: listening(application, 'listen', 'Hide'),
    offAppHide: listening(application, 'unlisten', 'Hide'),
    onError: listening(application, 'listen', 'Error'),
    offError: listening(application, 'unlisten', 'Error'),
    onUnhandledRejection: listening(application, 'listen', 'UnhandledRejection'),
    offUnhandledRejection: listening(application, 'unlisten', 'UnhandledRejection'),
    showShareMenu: call('showShareMenu', ignore),
    hideShareMenu: call('hideShareMenu', ignore),
    hideHomeButton: call('hideHomeButton', ignore),
    reportEvent: ignore,
    env: { USER_DATA_PATH: 'wxfile://usr' },
  })
  all['canIUse'] = (schema: string) => {
    const [name = ''] = schema.split('.')
    return /enableChunked|ChunkReceived/.test(schema) ? emulator.wx.canIUse(schema) : name in all
  }
  return new Proxy(all, {
    get(target, name) {
      if (typeof name !== 'string' || name in target || QUIET.test(name)) return Reflect.get(target, name) as unknown
      onMissing(name)
      return isAbsent(name) ? call(name, fail) : undefined
    },
  })
}

function ignore(): void {}

function fail(): never {
  throw new Error('it is not in this preview')
}

function listening(application: Application, method: 'listen' | 'unlisten', event: Parameters<Application['listen']>[0]) {
  return (listener: (value: unknown) => void) => application[method](event, listener)
}
