/** What a parser must do with a stream, however it is cut. Runs on any engine; see engines.ts. */

import { createSseParser, type Chunk, type ServerSentEvent } from '../../src/sse.js'

export interface Stream {
  name: string
  /** One character a byte, since bytes have to cross into QuickJS as JSON. */
  bodies: string[]
  events: ServerSentEvent[]
  /** How many bytes have to be there, of all bodies together, for each event. */
  completedAt: number[]
  lastEventId: string
  retry: number | null
}

export interface Outcome {
  cases: number
  failures: string[]
}

const RANDOM_CUTS = 200
const MOST_CUTS = 12 // with more it is nearly byte by byte, which is a case of its own

// What each case costs grows with the stream: one that is longer than this is cut at random only, or, where time does not
// matter, in two at both of its ends and at places between.
const LONG = 8000
const FEW = 25
const END = 200

/** Feed a stream whole, cut in two everywhere, byte by byte and in seeded random pieces; a long one only where `thorough`. */
export function checkSse(stream: Stream, seed: number, thorough = false): Outcome {
  const outcome: Outcome = { cases: 0, failures: [] }
  const bytes = bytesOf(stream.bodies.join(''))
  const { length } = bytes
  const bodyEnds = stream.bodies.map((_, index) => stream.bodies.slice(0, index + 1).join('').length)
  const random = randomNumbers(seed)
  const check = (how: string, cuts: number[]) => {
    outcome.cases++
    const failure = failureOf(stream, bytes, bodyEnds, cuts, outcome.cases)
    if (failure) outcome.failures.push(`${stream.name}, ${how}: ${failure}`)
  }
  const isLong = length > LONG
  const runs = isLong && !thorough ? FEW : RANDOM_CUTS
  const most = (run: number) => (isLong ? random() * 400 : 1 + (run % MOST_CUTS))
  check('whole', [])
  for (let run = 0; run < runs; run++) check(`random cuts of run ${run}`, someCuts(length, most(run), random))
  if (isLong && !thorough) return outcome
  check('byte by byte', range(1, length))
  check('with empty chunks', [0, 0, ...range(1, length).flatMap((end) => [end, end])])
  const places = isLong ? [...range(1, END), ...someCuts(length, END, random), ...range(length - END, length - 1)] : range(1, length - 1)
  for (const cut of places) check(`cut at ${cut}`, [cut])
  return outcome
}

function someCuts(length: number, count: number, random: () => number): number[] {
  return Array.from({ length: Math.ceil(count) }, () => Math.floor(random() * length)).sort((a, b) => a - b)
}

function failureOf(stream: Stream, bytes: Uint8Array, bodyEnds: number[], cuts: number[], variant: number): string | undefined {
  const parser = createSseParser()
  const { events, completedAt } = stream
  let seen = 0
  let start = 0
  let due = 0
  for (const end of [...cuts, ...bodyEnds].sort((a, b) => a - b)) {
    const [chunk, spoil] = chunkOf(bytes, start, end, variant)
    const fed = parser.feed(chunk)
    spoil()
    for (const event of fed) if (!isSame(event, events[seen++])) return `${JSON.stringify(event)} instead of ${JSON.stringify(events[seen - 1])}`
    while (due < completedAt.length && completedAt[due] <= end) due++
    if (seen !== due) return `${seen} events after byte ${end} instead of ${due}`
    if (end > start && end < bytes.length && bodyEnds.indexOf(end) >= 0) parser.nextBody()
    start = end
  }
  const rest = [parser.lastEventId(), parser.retry()]
  if (seen === events.length && rest[0] === stream.lastEventId && rest[1] === stream.retry) return undefined
  return `${seen} events and ${JSON.stringify(rest)} instead of ${events.length} and ${JSON.stringify([stream.lastEventId, stream.retry])}`
}

function isSame(one: ServerSentEvent, other: ServerSentEvent | undefined): boolean {
  return !!other && one.event === other.event && one.data === other.data && one.id === other.id && one.retry === other.retry
}

/** The bytes in one of the forms that platforms use, and a function that overwrites them. */
function chunkOf(bytes: Uint8Array, start: number, end: number, variant: number): [Chunk, () => void] {
  const padding = variant % 3
  const whole = new Uint8Array(end - start + 2 * padding)
  const view = whole.subarray(padding, padding + end - start)
  view.set(bytes.subarray(start, end))
  return [padding ? view : whole.buffer, () => view.fill(0x0a)]
}

function bytesOf(latin: string): Uint8Array {
  return Uint8Array.from(latin, (unit) => unit.charCodeAt(0))
}

export function range(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index)
}

/** Numbers in [0, 1), the same for the same seed on each engine (mulberry32). */
export function randomNumbers(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let bits = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
    return ((bits ^ (bits >>> 14)) >>> 0) / 4294967296
  }
}
