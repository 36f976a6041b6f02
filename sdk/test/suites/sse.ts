/** What a parser must do with a stream, however it is cut. Runs on any engine; see engines.ts. */

import { createSseParser, type Chunk, type ServerSentEvent } from '../../src/sse.js'

export interface Stream {
  name: string
  /** One character a byte, since bytes have to cross into QuickJS as JSON. */
  bytes: string
  events: ServerSentEvent[]
  /** How many bytes have to be there for each event. */
  completedAt: number[]
}

export interface Outcome {
  cases: number
  failures: string[]
}

const RANDOM_CUTS = 200

/** Feed a stream whole, cut in two everywhere, byte by byte and in seeded random pieces. */
export function checkSse(stream: Stream, seed: number): Outcome {
  const outcome: Outcome = { cases: 0, failures: [] }
  const length = stream.bytes.length
  const random = randomNumbers(seed)
  const check = (how: string, ends: number[]) => {
    outcome.cases++
    const failure = failureOf(stream, ends, outcome.cases)
    if (failure) outcome.failures.push(`${stream.name}, ${how}: ${failure}`)
  }
  check('whole', [length])
  check('byte by byte', range(1, length))
  check('with empty chunks', [0, 0, ...range(1, length).flatMap((end) => [end, end])])
  for (const cut of range(1, length - 1)) check(`cut at ${cut}`, [cut, length])
  for (let run = 0; run < RANDOM_CUTS; run++) {
    const inner = range(1, length - 1).filter(() => random() < (run % 20) / 40)
    check(`random cuts ${inner}`, [...inner, length])
  }
  return outcome
}

function failureOf(stream: Stream, ends: number[], variant: number): string | undefined {
  const parser = createSseParser()
  const seen: ServerSentEvent[] = []
  let start = 0
  for (const end of ends) {
    const [chunk, spoil] = chunkOf(stream.bytes.slice(start, end), variant)
    seen.push(...parser.feed(chunk))
    spoil()
    const due = stream.completedAt.filter((position) => position <= end).length
    if (seen.length !== due) return `${seen.length} events after byte ${end} instead of ${due}`
    start = end
  }
  const got = JSON.stringify(seen)
  const wanted = JSON.stringify(stream.events)
  return got === wanted ? undefined : `${got} instead of ${wanted}`
}

/** The bytes in one of the forms that platforms use, and a function that overwrites them. */
function chunkOf(bytes: string, variant: number): [Chunk, () => void] {
  const padding = variant % 3
  const view = new Uint8Array(bytes.length + 2 * padding).subarray(padding, padding + bytes.length)
  for (let index = 0; index < bytes.length; index++) view[index] = bytes.charCodeAt(index)
  return [padding ? view : view.buffer, () => view.fill(0x0a)]
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
