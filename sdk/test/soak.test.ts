import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { PROFILES, type ProfileName } from '../emulator/index.js'
import { startGateway, type Gateway } from './gateway.js'
import { planOf, run, stopPlanOf, type Outcome, type Plan } from './soak.js'

/** `DAZI_RUNS`: runs a profile; `DAZI_SEED`: the first seed; `DAZI_SCALE`: how much faster than real, 1 for not at all. */
const RUNS = Number(process.env['DAZI_RUNS'] || 30)
const SEED = Number(process.env['DAZI_SEED'] || 1)
const SCALE = Number(process.env['DAZI_SCALE'] || 20)

// Of a profile; the profiles run side by side. Many more would keep a machine of two cores too busy for its watchdogs.
const AT_A_TIME = Number(process.env['DAZI_AT_A_TIME'] || 6)

const NAMES = Object.keys(PROFILES) as ProfileName[] // what `Object.keys` forgets

let gateway: Gateway
/** One whose time is the world's. */
let plain: Gateway

before(async () => {
  gateway = await startGateway('soak_gateway.py', [String(SCALE)])
  plain = await startGateway('soak_gateway.py', ['1'])
})

after(async () => {
  for (const started of [gateway, plain]) if (started) await started.stop()
})

/** Run plans, so many at a time. */
async function runAll(url: string, plans: Plan[], atATime: number): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  const left = [...plans]
  const work = async () => {
    for (let plan = left.shift(); plan; plan = left.shift()) outcomes.push(await run(url, plan))
  }
  await Promise.all(Array.from({ length: atATime }, work))
  return outcomes
}

function summaryOf(outcomes: Outcome[]): string {
  const counts: Record<string, number> = {}
  const add = (what: string, number: number) => (counts[what] = (counts[what] || 0) + number)
  for (const outcome of outcomes) {
    add('characters', outcome.plan.text.length)
    add('updates', outcome.updates)
    if (outcome.plan.stopAt < Infinity) add('stop', 1)
    for (const [what, number] of Object.entries(outcome.counts)) add(what, number)
  }
  return Object.entries(counts).map(([what, number]) => `${number} ${what}`).join(', ')
}

async function check(profile: ProfileName): Promise<void> {
  const begin = performance.now()
  const plans = Array.from({ length: RUNS }, (_, count) => planOf(profile, SEED + count, SCALE))
  const outcomes = await runAll(gateway.url, plans, AT_A_TIME)
  const bad = outcomes.filter(({ problems }) => problems.length)
  const seconds = ((performance.now() - begin) / 1000).toFixed(1)
  console.log(`${profile}: ${outcomes.length} runs, seeds ${SEED} to ${SEED + RUNS - 1}, time × ${SCALE}, ${seconds} s, ${bad.length} bad`)
  console.log(`  ${summaryOf(outcomes)}`)
  assert.deepEqual(bad.map(({ plan, problems }) => `${plan.name}: ${problems.join('; ')}`), [])
}

test('in seeded runs nothing is lost, doubled or wrong, asked twice, or hangs', { concurrency: true }, async (all) => {
  await Promise.all(NAMES.map((profile) => all.test(profile, () => check(profile))))
})

const STOPS = 5

test('stop at any moment releases the model within a second, also where abort is ignored', async () => {
  const plans = NAMES.flatMap((profile) =>
    Array.from({ length: 2 * STOPS }, (_, count) => stopPlanOf(profile, SEED + count, count % 2 > 0)),
  )
  const outcomes = await runAll(plain.url, plans, 16)
  const releases = outcomes.map(({ release }) => Math.round(release)).sort((a, b) => a - b)
  console.log(`stop: ${plans.length} runs, seeds ${SEED} to ${SEED + 2 * STOPS - 1}, released after ${releases[releases.length >> 1]} ms, at most ${releases.pop()} ms`)
  const isBad = ({ problems, release }: Outcome) => problems.length || release > 1000
  assert.deepEqual(outcomes.filter(isBad).map(({ plan, problems, release }) => `${plan.name}: ${release} ms; ${problems.join('; ')}`), [])
})

/**
 * Ten requests are all that a platform lets a program make at a time. Nine of them hang, and the answer's stream has the
 * tenth place: that is ended first, so that the abort can leave. Where `abort` is ignored as well, nothing can leave
 * before one of the ten ends by itself, and no client can help that.
 */
test('stop releases the model within a second also where nine other requests hang', { timeout: 120_000 }, async () => {
  const names = NAMES.filter((name) => !PROFILES[name].ignoresAbort)
  const plans = names.flatMap((profile) => Array.from({ length: STOPS }, (_, count) => stopPlanOf(profile, SEED + count, false, 9)))
  const outcomes = await runAll(plain.url, plans, 16)
  const isBad = ({ problems, release }: Outcome) => problems.length || release > 1000
  console.log(`stop beside nine hung requests: ${plans.length} runs, at most ${Math.round(Math.max(...outcomes.map(({ release }) => release)))} ms`)
  assert.deepEqual(outcomes.filter(isBad).map(({ plan, problems, release }) => `${plan.name}: ${release} ms; ${problems.join('; ')}`), [])
})
