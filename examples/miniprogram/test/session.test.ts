import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSession, LoginError, type LoginApi } from '../src/chat/session'

type Answer = { statusCode: number; data: unknown } | 'lost'

function createPhone(answer: Answer = { statusCode: 200, data: { token: 't', expires_in: 7200 } }) {
  const kept: Record<string, unknown> = {}
  const phone = { logins: 0, requests: 0, answer, hasCode: true }
  const wx: LoginApi = {
    getStorageSync: (key) => kept[key] || '',
    setStorageSync: (key, value) => void (kept[key] = value),
    removeStorageSync: (key) => void delete kept[key],
    login({ success, fail }) {
      phone.logins++
      setTimeout(() => (phone.hasCode ? success({ code: `code-${phone.logins}` }) : fail({ errMsg: 'login:fail' })))
    },
    request({ success, fail }) {
      phone.requests++
      setTimeout(() => (phone.answer === 'lost' ? fail({ errMsg: 'request:fail' }) : success(phone.answer)))
    },
  }
  return { phone, wx }
}

const GATEWAY = { gateway: 'https://gateway', token: '' }

test('one log-in serves all that wait, and the next life', async () => {
  const { phone, wx } = createPhone()
  const session = createSession(wx, GATEWAY)
  assert.deepEqual(await Promise.all([session.authorization(), session.authorization()]), ['Bearer t', 'Bearer t'])
  assert.equal(await createSession(wx, GATEWAY).authorization(), 'Bearer t')
  assert.equal(phone.logins, 1)
  await createSession(wx, { ...GATEWAY, gateway: 'https://another' }).authorization()
  assert.equal(phone.logins, 2, "another gateway's session is another one")
})

test('a session is renewed shortly before its end, and when it was refused', async () => {
  const { phone, wx } = createPhone()
  let now = 0
  const session = createSession(wx, GATEWAY, () => now)
  await session.authorization()
  now = 7_100_000
  await session.authorization()
  now = 7_150_000
  await session.authorization()
  assert.equal(phone.logins, 2)
  session.forget()
  await session.authorization()
  assert.equal(phone.logins, 3)
})

test('a development token asks nobody', async () => {
  const { phone, wx } = createPhone()
  assert.equal(await createSession(wx, { ...GATEWAY, token: 'dev' }).authorization(), 'Bearer dev')
  assert.equal(phone.logins, 0)
})

test('a gateway without log-in is asked without', async () => {
  const { wx } = createPhone({ statusCode: 501, data: { error: { code: 'not_possible' } } })
  assert.equal(await createSession(wx, GATEWAY).authorization(), '')
})

for (const [code, answer] of [
  ['wechat_blocked', { statusCode: 403, data: { error: { code: 'wechat_blocked' } } }],
  ['http_502', { statusCode: 502, data: '<html>' }],
  ['connection_lost', 'lost'],
] as [string, Answer][]) {
  test(`${code} is told`, async () => {
    const { wx } = createPhone(answer)
    await assert.rejects(createSession(wx, GATEWAY).authorization(), new LoginError(code))
  })
}

test('WeChat giving no code is told', async () => {
  const { phone, wx } = createPhone()
  phone.hasCode = false
  await assert.rejects(createSession(wx, GATEWAY).authorization(), new LoginError('login_failed'))
})
