/** The emulator's `wx` against the platform's own typings; what matters is that this compiles (`npm run types`). */

/// <reference types="miniprogram-api-typings" />
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createEmulator } from '../emulator/index.js'
import type { FailResult, HeadersResult, RequestOption, RequestTask, SuccessResult, SystemInfo, Wx } from '../emulator/wx.js'
import type { Wx as WxOfTheSdk } from '../src/platform/wx.js'

type Real = WechatMiniprogram.Wx
type Emulated = 'request' | 'canIUse' | 'onAppHide' | 'offAppHide' | 'onAppShow' | 'offAppShow'

/** Compiles where the first can be used for the second. */
function usableAs<From extends To, To>(..._: [From?, To?]): void {}

test("what is written for the platform's types can be given the emulator, and the other way round", () => {
  // Code for the real one calls the emulator.
  usableAs<Parameters<Real['request']>[0], RequestOption>()
  usableAs<Wx['onAppHide'], Real['onAppHide']>()
  usableAs<Parameters<Real['canIUse']>, Parameters<Wx['canIUse']>>()
  usableAs<RequestTask, WechatMiniprogram.RequestTask>()
  usableAs<WechatMiniprogram.RequestTask, RequestTask>()
  // What the emulator tells is what the real one tells, as far as it goes.
  usableAs<WechatMiniprogram.RequestSuccessCallbackResult, SuccessResult>()
  usableAs<FailResult, WechatMiniprogram.RequestFailCallbackErr>()
  usableAs<HeadersResult, WechatMiniprogram.RequestTaskOnHeadersReceivedListenerResult>()
  usableAs<SystemInfo, Pick<WechatMiniprogram.SystemInfo, keyof SystemInfo>>()
  // Both are what the SDK takes.
  usableAs<Wx, WxOfTheSdk>()
  usableAs<Pick<Real, Emulated>, WxOfTheSdk>()
  assert.ok(createEmulator().wx)
})

test('nothing is emulated that the platform does not have', () => {
  const names: (keyof Wx & keyof Real)[] = ['request', 'canIUse', 'getSystemInfoSync', 'onAppHide', 'offAppHide', 'onAppShow', 'offAppShow']
  assert.deepEqual(Object.keys(createEmulator().wx).sort(), [...names].sort())
})
