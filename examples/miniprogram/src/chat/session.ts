/**
 * Who this is, for the gateway: a development token, or a session that `wx.login` gives without asking the user anything.
 *
 * Laws: one log-in at a time, however many wait for it; a session is used until shortly before its end; a gateway that
 * knows no log-in (`not_possible`) is asked without.
 */

import type { Storage } from './store'

/** As much of `wx` as is used. */
export interface LoginApi extends Storage {
  login(options: { timeout?: number; success(result: { code: string }): void; fail(error: { errMsg: string }): void }): void
  request(options: {
    url: string
    method: 'POST'
    data?: object
    header?: Record<string, string>
    timeout: number
    success(result: { statusCode: number; data: unknown }): void
    fail(error: { errMsg: string }): void
  }): unknown
}

/** Why there is no session: a code as PROTOCOL.md has them, or `login_failed` where WeChat gave no code. */
export class LoginError extends Error {
  constructor(readonly code: string) {
    super(code)
  }
}

export interface Session {
  /** The value of `Authorization`; "" where the gateway asks for none. Rejects with a LoginError. */
  authorization(): Promise<string>
  /** The gateway refused what it gave: the next call logs in anew. */
  forget(): void
}

interface Kept {
  gateway: string
  token: string
  until: number
}

const KEY = 'dazi:session'
const TIMEOUT = 10_000

// A session that ends while a question is on its way would be refused.
const MARGIN = 60_000

export function createSession(wx: LoginApi, { gateway, token }: { gateway: string; token: string }, now: () => number = Date.now): Session {
  let pending: Promise<string> | undefined

  function kept(): string | undefined {
    const session = wx.getStorageSync(KEY) as Kept | '' // only this file writes it
    return session && session.gateway === gateway && session.until > now() + MARGIN ? session.token : undefined
  }

  async function logIn(): Promise<string> {
    const session = await exchange(wx, gateway, await codeOf(wx))
    if (!session) return ''
    wx.setStorageSync(KEY, { gateway, token: session.token, until: now() + session.expires_in * 1000 })
    return `Bearer ${session.token}`
  }

  return {
    async authorization() {
      if (token) return `Bearer ${token}`
      const known = kept()
      if (known) return `Bearer ${known}`
      pending = pending || logIn().finally(() => (pending = undefined))
      return pending
    },
    forget: () => wx.removeStorageSync(KEY),
  }
}

/** Have the gateway forget everything of this user's. Rejects where it does not. */
export async function erase(wx: LoginApi, gateway: string, session: Session): Promise<void> {
  const authorization = await session.authorization()
  return new Promise((resolve, reject) => {
    wx.request({
      url: `${gateway}/v1/generations/erase`,
      method: 'POST',
      header: authorization ? { Authorization: authorization } : {},
      timeout: TIMEOUT,
      success: ({ statusCode }) => (statusCode === 200 ? resolve() : reject(new LoginError(`http_${statusCode}`))),
      fail: () => reject(new LoginError('connection_lost')),
    })
  })
}

function codeOf(wx: LoginApi): Promise<string> {
  return new Promise((resolve, reject) => {
    wx.login({ timeout: TIMEOUT, success: ({ code }) => resolve(code), fail: () => reject(new LoginError('login_failed')) })
  })
}

function exchange(wx: LoginApi, gateway: string, code: string): Promise<{ token: string; expires_in: number } | undefined> {
  return new Promise((resolve, reject) => {
    wx.request({
      url: `${gateway}/v1/wechat/sessions`,
      method: 'POST',
      data: { code },
      timeout: TIMEOUT,
      success({ statusCode, data }) {
        const answer = data as { token?: string; expires_in?: number; error?: { code: string } } // as the protocol says, or nothing of it
        const refusal = (answer && answer.error && answer.error.code) || `http_${statusCode}`
        if (answer && answer.token) resolve({ token: answer.token, expires_in: answer.expires_in || 0 })
        else if (refusal === 'not_possible') resolve(undefined)
        else reject(new LoginError(refusal))
      },
      fail: () => reject(new LoginError('connection_lost')),
    })
  })
}
