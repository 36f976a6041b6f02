import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { crc32 } from '../src/answer.js'
import { createEmulator, PROFILES as PHONES, type ProfileName } from '../emulator/index.js'
import { createClient, type Client, type Update } from '../src/client.js'
import { fetchPlatform } from '../src/platform/fetch.js'
import { createWxPlatform } from '../src/platform/wx.js'
import { createChaos, type Faults } from './chaos.js'
import { startGateway, type Gateway } from './gateway.js'

const CALM: Faults = { drop: 0, refuse: 0, hide: 0, late: false, streams: true }

const PROFILES: Record<string, Faults> = {
  calm: CALM,
  drops: { ...CALM, drop: 0.02, refuse: 0.1 },
  background: { ...CALM, hide: 0.02, drop: 0.01 },
  'no chunks': { ...CALM, late: true },
  polls: { ...CALM, streams: false, refuse: 0.1 },
}

const RUNS = Number(process.env['DAZI_RUNS'] || 20)

let gateway: Gateway

before(async () => {
  gateway = await startGateway()
})

after(() => gateway && gateway.stop())

const question = (topic: string) => ({ model: 'demo', messages: [{ role: 'user', content: topic }] })

function ended(client: Client, body: object, options?: { replace?: boolean }): Promise<Update[]> {
  const updates: Update[] = []
  return new Promise((resolve) => {
    client.ask(body, (update) => {
      updates.push(update)
      if (update.status === 'ended') resolve(updates)
    }, options)
  })
}

async function truthOf(generation: string): Promise<{ status: string; text: string; crc32: number; n: number }> {
  const response = await fetch(`${gateway.url}/v1/generations/${generation}`)
  return JSON.parse(await response.text())
}

async function checkRun(name: string, faults: Faults, seed: number): Promise<void> {
  const chaos = createChaos(fetchPlatform, seed, faults)
  const updates = await ended(createClient({ url: gateway.url, platform: chaos.platform }), question(`${name} ${seed}`), { replace: seed % 4 === 3 })
  const last = updates[updates.length - 1]
  const truth = await truthOf(last.generation)
  const context = `seed ${seed}, ${JSON.stringify(chaos.counts)}, ${JSON.stringify(last.end)}`
  assert.equal(last.end?.type, 'done', context)
  assert.equal(last.text, truth.text, context)
  assert.equal(truth.crc32, crc32(last.text))
  for (const { text } of updates) assert.ok(truth.text.startsWith(text), `a wrong text was shown, ${context}`)
}

for (const [name, faults] of Object.entries(PROFILES)) {
  test(`${name}: no character is lost, doubled or wrong`, { timeout: 120_000 }, async () => {
    await Promise.all(Array.from({ length: RUNS }, (_, seed) => checkRun(name, faults, seed)))
  })
}

test('abort stops the generation at the gateway', async () => {
  const client = createClient({ url: gateway.url, platform: fetchPlatform })
  const last = await new Promise<Update>((resolve) => {
    const following = client.ask(question('abort'), (update) => {
      if (update.status === 'ended') resolve(update)
      else if (update.text.length > 10) following.abort()
    })
  })
  assert.equal(last.end?.type, 'aborted')
  assert.ok(last.text.length > 10)
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.equal((await truthOf(last.generation)).status, 'aborted')
})

test('a second client attaches and sees the same', async () => {
  const client = createClient({ url: gateway.url, platform: fetchPlatform })
  const first = await ended(client, question('attach'))
  const { generation, text } = first[first.length - 1]
  const second = await new Promise<Update>((resolve) => {
    createClient({ url: gateway.url, platform: fetchPlatform }).attach(generation, (update) => update.end && resolve(update))
  })
  assert.equal(second.text, text)
})

test('it goes on from what an earlier update told, and says which model answers', async () => {
  const client = createClient({ url: gateway.url, platform: fetchPlatform })
  const updates = await ended(client, question('going on'))
  const last = updates[updates.length - 1]
  const from = updates.find(({ text }) => text.length > last.text.length / 2) || last
  const later = await new Promise<Update[]>((resolve) => {
    const seen: Update[] = []
    client.attach(from.generation, (update) => {
      seen.push(update)
      if (update.status === 'ended') resolve(seen)
    }, from)
  })
  assert.ok(later.every(({ text }) => text.startsWith(from.text) && last.text.startsWith(text)))
  const { text, model, end } = later[later.length - 1]
  assert.deepEqual([text, model, end?.type], [last.text, 'demo', 'done'])
})

test('a question that the gateway refuses ends with its code', async () => {
  const client = createClient({ url: gateway.url, platform: fetchPlatform })
  const updates = await ended(client, { ...question('x'), nonsense: 1 })
  assert.equal(updates[updates.length - 1].end?.code, 'unknown_field')
  const polled = createClient({ url: gateway.url, platform: { ...fetchPlatform, streams: false } })
  assert.equal((await ended(polled, { messages: [] })).pop()?.end?.code, 'invalid_field')
})

// What `Object.keys` forgets; hence the cast.
for (const profile of Object.keys(PHONES) as ProfileName[]) {
  test(`${profile}: what the gateway says when it refuses is heard, by chunks and by polls`, async (context) => {
    const phone = createEmulator({ profile, timeScale: 5 })
    context.after(phone.close)
    const client = createClient({ url: gateway.url, platform: createWxPlatform(phone.wx, phone.clock) })
    const refused = (await ended(client, { ...question('x'), nonsense: 1 })).pop()
    assert.deepEqual([refused?.end?.type, refused?.end?.code, refused?.text], ['failed', 'unknown_field', ''])
    assert.match(refused?.end?.message || '', /nonsense/)
    const unknown = await new Promise<Update>((resolve) => client.attach('0'.repeat(32), (update) => update.end && resolve(update)))
    assert.equal(unknown.end?.code, 'not_found')
  })
}
