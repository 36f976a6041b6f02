import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createClient, type Update } from '../src/client.js'
import { createWxPlatform, type Wx, type WxRequestOptions } from '../src/platform/wx.js'
import { startGateway, type Gateway } from './gateway.js'

let gateway: Gateway

before(async () => {
  gateway = await startGateway()
})

after(() => gateway && gateway.stop())

interface Host {
  wx: Wx
  hide(): void
  show(): void
}

/** As much of a phone as these tests need; each profile is documented in the platform's own words elsewhere. */
function createHost({ chunks = true, views = false, ignoresAbort = false, whole = false } = {}): Host {
  const listeners = { hide: [() => {}], show: [() => {}] }
  const running = new Set<() => void>()

  function request(options: WxRequestOptions) {
    const controller = new AbortController()
    const heard: ((result: { data: ArrayBuffer }) => void)[] = []
    const { url, method, header, data } = options
    const close = () => running.delete(interrupt)
    const interrupt = () => {
      controller.abort()
      options.fail({ errMsg: 'request:fail interrupted' })
      close()
    }
    running.add(interrupt)
    const receive = async () => {
      const response = await fetch(url, { method, headers: header, ...(data && { body: data }), signal: controller.signal })
      const kept: Uint8Array[] = []
      for await (const bytes of response.body || []) {
        if (!chunks || whole || !options.enableChunked) kept.push(bytes)
        // DevTools give a view where the types promise a buffer; hence the cast.
        else heard.forEach((listener) => listener({ data: (views ? bytes : bytes.slice().buffer) as ArrayBuffer }))
      }
      const body = Buffer.concat(kept)
      options.success({ statusCode: response.status, data: options.responseType === 'text' ? body.toString() : new Uint8Array(body).buffer })
    }
    receive()
      .catch((error: Error) => running.has(interrupt) && options.fail({ errMsg: error.message }))
      .finally(close)
    const abort = () => {
      if (!ignoresAbort) controller.abort()
    }
    return chunks ? { abort, onChunkReceived: (listener: (result: { data: ArrayBuffer }) => void) => void heard.push(listener) } : { abort }
  }

  return {
    wx: { request, canIUse: () => chunks, onAppHide: (listener) => void listeners.hide.push(listener), onAppShow: (listener) => void listeners.show.push(listener) },
    hide() {
      listeners.hide.forEach((listener) => listener())
      running.forEach((interrupt) => interrupt())
    },
    show: () => listeners.show.forEach((listener) => listener()),
  }
}

function ask(host: Host, onUpdate: (update: Update, abort: () => void) => void = () => {}): Promise<Update[]> {
  const updates: Update[] = []
  const body = { model: 'demo', messages: [{ role: 'user', content: '你好' }] }
  return new Promise((resolve) => {
    const following = createClient({ url: gateway.url, platform: createWxPlatform(host.wx) }).ask(body, (update) => {
      updates.push(update)
      onUpdate(update, () => following.abort())
      if (update.status === 'ended') resolve(updates)
    })
  })
}

async function truthOf(generation: string): Promise<{ text: string; status: string }> {
  return JSON.parse(await (await fetch(`${gateway.url}/v1/generations/${generation}`)).text())
}

const PROFILES = { android: {}, devtools: { views: true }, pc: { whole: true }, 'baselib-2.19': { chunks: false }, 'abort ignored': { ignoresAbort: true } }

for (const [profile, faults] of Object.entries(PROFILES)) {
  test(`${profile}: the answer is the gateway's`, { timeout: 30_000 }, async () => {
    const updates = await ask(createHost(faults))
    const last = updates[updates.length - 1]
    const { text } = await truthOf(last.generation)
    assert.deepEqual([last.end?.type, last.text], ['done', text])
  })

  test(`${profile}: abort stops the generation within a second`, { timeout: 30_000 }, async () => {
    const updates = await ask(createHost(faults), (update, abort) => update.status !== 'ended' && update.generation && abort())
    const { generation, end } = updates[updates.length - 1]
    assert.equal(end?.type, 'aborted')
    await new Promise((resolve) => setTimeout(resolve, 900))
    // Where nothing comes before the end, the program learns the answer's id when this short one is over.
    assert.equal((await truthOf(generation)).status, profile === 'pc' ? 'done' : 'aborted')
  })
}

test('background: interrupted, and gone on with in the foreground', { timeout: 30_000 }, async () => {
  const host = createHost()
  let isHidden = false
  const updates = await ask(host, (update) => {
    if (isHidden || update.text.length < 50) return
    isHidden = true
    host.hide()
    setTimeout(host.show, 200)
  })
  const last = updates[updates.length - 1]
  assert.ok(updates.some((update) => update.status === 'paused'))
  assert.equal(last.text, (await truthOf(last.generation)).text)
})
