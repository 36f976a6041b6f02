/**
 * One seeded run: the client, on an emulated phone, with a network that fails, at the real gateway; and what went wrong.
 *
 * Everything that a run does follows from its seed, but for the race of two processes.
 */

import { get } from 'node:http'
import { text as textOfBody } from 'node:stream/consumers'
import { createClient, type Following, type Update } from '../src/client.js'
import { createWxPlatform } from '../src/platform/wx.js'
import { createEmulator, PROFILES, type Emulator, type EmulatorOptions, type ProfileName } from '../emulator/index.js'
import { randomNumbers } from './suites/sse.js'

export interface Plan {
  name: string
  profile: ProfileName
  text: string
  reasoning: string
  /** Seconds until the first piece, and pieces a second. */
  wait: number
  pace: number
  emulator: EmulatorOptions
  replace: boolean
  /** Times to go to the background, and for how long, in milliseconds; 0: not. */
  hides: { at: number; length: number }[]
  /** When somebody presses stop; Infinity: nobody. */
  stopAt: number
  /** Requests of the same program that hang from the start. */
  hung: number
  /** When the same program opens another stream, which hangs, in milliseconds. */
  rivals: number[]
}

export interface Outcome {
  plan: Plan
  problems: string[]
  /** Real milliseconds from the client's end until the model came to rest. */
  release: number
  counts: Record<string, number>
  updates: number
}

const SCRIPTS = [
  '春眠不觉晓，处处闻啼鸟。', '𠮷野家𠀋㐂龘', 'plain words, and more; ', '👨‍👩‍👧‍👦 一家人，👩🏽‍🚀', '🇨🇳🇯🇵🏴󠁧󠁢󠁳󠁣󠁴󠁿👍🏿❤️‍🔥1️⃣', 'café naïve Z͑͗ạ̈l̰͋', '한국어 हिन्दी ไทย',
  'מימין לשמאל من اليمين', '\n\ndata: {"x": 1}\n\nid: 9-9\n', '\r\n\r\u2028\u2029\u0000\u001b\ufeff', '"\\\\"\\u4f60%E4%BD%A0\'<>&', '```js\nlet a = `${b}`\n```\n| 一 | 二 |\n',
]

function textOf(random: () => number, length: number): string {
  let text = ''
  while (text.length < length) {
    const points = [...SCRIPTS[Math.floor(random() * SCRIPTS.length)]]
    text += points.slice(Math.floor(random() * points.length)).join('')
  }
  return text
}

const CUTS = ['none', 'bytes', 'random', 'random', 'glued'] as const

export function planOf(profile: ProfileName, seed: number, timeScale: number): Plan {
  const random = randomNumbers(seed * 8 + Object.keys(PROFILES).indexOf(profile))
  const sometimes = (chance: number, most: number) => (random() < chance ? random() * most : 0)
  // One in six outlasts the platform's minute, and so the rotation.
  const seconds = random() < 1 / 6 ? 55 + random() * 50 : 1 + random() * 30
  const text = textOf(random, 30 + random() * 700)
  const reasoning = random() < 0.2 ? textOf(random, 60) : ''
  const hides = Array.from({ length: random() < 0.35 ? 1 + Math.floor(random() * 3) : 0 }, () => ({
    at: random() * seconds * 1200, length: random() ** 3 * 120_000,
  }))
  return {
    name: `${profile} ${seed}`, profile, text, reasoning, hides,
    wait: sometimes(0.2, 25),
    pace: (text.length + reasoning.length) / 2.9 / seconds,
    emulator: {
      profile, seed, timeScale,
      ignoresAbort: random() < 0.3,
      link: {
        cut: CUTS[Math.floor(random() * CUTS.length)],
        latency: sometimes(0.4, 800),
        bytesPerSecond: random() < 0.15 ? 1500 + random() * 4000 : Infinity,
      },
      faults: {
        // So that eleven failures in a row, after which the client gives up, and rightly, are not to be expected.
        refuse: sometimes(0.3, 0.15), lose: sometimes(0.3, 0.1), repeat: sometimes(0.4, 0.4),
        drop: sometimes(0.5, 0.5), stall: sometimes(0.15, 0.1),
      },
    },
    replace: random() < 0.25,
    stopAt: random() < 0.2 ? random() * seconds * 1100 : Infinity,
    ...(random() < 0.5 ? { hung: random() < 0.2 ? 9 : 0, rivals: [] } : { hung: 0, rivals: [random() * seconds * 1000, random() * seconds * 1000] }),
  }
}

/** An answer that is long and slow, on a calm network, stopped after so many milliseconds. */
export function stopPlanOf(profile: ProfileName, seed: number, ignoresAbort: boolean, hung = 0): Plan {
  const random = randomNumbers(seed)
  const stopAt = random() * 2500 * (seed % 5 ? 1 : 0) // one in five at once
  const emulator = { profile, seed, timeScale: 1, ignoresAbort, link: { cut: CUTS[seed % CUTS.length] } }
  const name = `stop ${profile} ${seed} ${ignoresAbort} ${hung}`
  const text = textOf(random, 600)
  return { name, profile, text, reasoning: '', wait: seed % 3 ? 0 : 60, pace: 5, emulator, replace: false, hides: [], stopAt, hung, rivals: [] }
}

// In time as the phone counts it: more than any row of failures that a seed can draw takes.
const MOST_MILLISECONDS = 900_000

export async function run(url: string, plan: Plan): Promise<Outcome> {
  const emulator = createEmulator(plan.emulator)
  const updates: Update[] = []
  const hang = { url: `${url}/soak/hang` }
  for (let count = 0; count < plan.hung; count++) emulator.wx.request(hang)
  for (const at of plan.rivals) emulator.clock.later(() => emulator.wx.request({ ...hang, enableChunked: true }), at)
  try {
    const problems = [...(await live(url, plan, emulator, updates)), ...wrongTexts(plan, updates)]
    const end = Date.now()
    const { problem, rested } = await atGateway(url, plan, emulator, updates)
    if (problem) problems.push(problem)
    return { plan, problems, release: Math.max(0, rested * 1000 - end), counts: emulator.counts, updates: updates.length }
  } finally {
    emulator.close()
  }
}

/** Ask, and live through it; answers what is wrong with the end. */
async function live(url: string, plan: Plan, { wx, clock, hide, show }: Emulator, updates: Update[]): Promise<string[]> {
  const client = createClient({ url, platform: createWxPlatform(wx, clock) })
  const { name, text, reasoning, wait, pace, replace } = plan
  const content = JSON.stringify({ name, text, reasoning, wait, pace })
  let following: Following | undefined
  const isInTime = await new Promise<boolean>((resolve) => {
    following = client.ask({ model: 'typist', messages: [{ role: 'user', content }] }, (update) => {
      updates.push(update)
      if (update.status === 'ended') resolve(true)
    }, { replace })
    for (const { at, length } of plan.hides) {
      clock.later(hide, at)
      clock.later(show, at + length)
    }
    if (plan.stopAt < Infinity) clock.later(() => following && following.abort(), plan.stopAt)
    clock.later(() => resolve(false), MOST_MILLISECONDS)
  })
  if (isInTime) return []
  const last = updates[updates.length - 1]
  return [`it hangs, ${last.status}, at ${last.text.length} of ${text.length}`]
}

function wrongTexts({ text, reasoning, stopAt }: Plan, updates: Update[]): string[] {
  const problems = []
  let shown = 0
  for (const update of updates) {
    if (!text.startsWith(update.text)) problems.push(`wrong text: ${differenceOf(text, update.text)}`)
    if (!reasoning.startsWith(update.reasoning)) problems.push(`wrong reasoning: ${differenceOf(reasoning, update.reasoning)}`)
    if (update.text.length < shown) problems.push(`text taken back, from ${shown} to ${update.text.length}`)
    shown = update.text.length
  }
  const last = updates[updates.length - 1]
  const isStopped = stopAt < Infinity && last.end?.type === 'aborted'
  if (last.status === 'ended' && !isStopped) {
    if (last.end?.type !== 'done') problems.push(`the end is ${JSON.stringify(last.end)}`)
    if (last.text !== text || last.reasoning !== reasoning) problems.push(`the answer has ${last.text.length} of ${text.length}`)
  }
  const afterEnd = updates.filter((update) => update.status === 'ended').length
  if (afterEnd > 1) problems.push(`${afterEnd} updates at the end`)
  return problems.slice(0, 3)
}

function differenceOf(truth: string, shown: string): string {
  let at = 0
  while (at < shown.length && shown[at] === truth[at]) at++
  return `at ${at} of ${shown.length}, ${JSON.stringify(shown.slice(at - 5, at + 15))} for ${JSON.stringify(truth.slice(at - 5, at + 15))}`
}

// Real milliseconds: the gateway is asked directly, and may be busy with other runs. And the phone's: where abort is ignored
// and nine other requests hang, a stop cannot leave the phone before one of the ten has met its end, after a minute.
const PATIENCE = 20_000
const PHONES_PATIENCE = 120_000

/** The model was asked once at most, and is at rest; on a calm network no request stays behind either. */
async function atGateway(url: string, plan: Plan, emulator: Emulator, updates: Update[]): Promise<{ problem: string; rested: number }> {
  emulator.show()
  const patience = Math.max(PATIENCE, PHONES_PATIENCE / (plan.emulator.timeScale || 1))
  for (const begin = Date.now(); ; ) {
    const { asked, busy, rested } = await countsAt(`${url}/soak/${encodeURIComponent(plan.name)}`)
    if (asked > 1) return { problem: `${asked} generations`, rested }
    const isQuiet = plan.hung > 0 || plan.emulator.faults !== undefined || emulator.pending() === 0
    if (!busy && isQuiet) {
      const isFromNowhere = asked === 0 && updates[updates.length - 1].end?.type === 'done'
      return { problem: isFromNowhere ? 'an answer that no model has given' : '', rested }
    }
    if (Date.now() - begin > patience) {
      return { problem: busy ? 'the model goes on after the end' : `${emulator.pending()} requests go on after the end`, rested }
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

interface Counts {
  asked: number
  busy: number
  /** When it came to rest, in seconds of the wall clock. */
  rested: number
}

/** On a connection of its own: the gateway's clock is fast, and so is its patience with one that is kept. */
function countsAt(url: string): Promise<Counts> {
  return new Promise((resolve, reject) => {
    const sent = get(url, { agent: false }, (response) => {
      textOfBody(response).then((body) => resolve(JSON.parse(body)), reject)
    })
    sent.on('error', reject)
  })
}
