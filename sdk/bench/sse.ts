/**
 * How fast events come out of bytes, beside the peers, interleaved in one run on one engine.
 *
 * Bundled by `npm run bench`, and run on several engines by ../bench/js_parsers.py; nothing here may need more than
 * ECMAScript.
 */

import { getLines, getMessages } from '@microsoft/fetch-event-source/lib/esm/parse.js'
import { createParser } from 'eventsource-parser'
import { createParser as createOldParser } from 'eventsource-parser-1'
import { TextDecoder as PolyfilledTextDecoder } from 'text-encoding'
import { createSseParser } from '../src/sse.js'
import { createUtf8Decoder } from '../src/utf8.js'

type Feed = (chunk: Uint8Array) => number
type Make = () => Feed

export interface Figure {
  workload: string
  /** Events a second by peer; null where one did not give all events. */
  rates: Record<string, number | null>
}

const ROUNDS = 5

// A peer that needs longer than this for a workload, in milliseconds, is not asked again: it is quadratic.
const PATIENCE = 2000

/** Measure every peer on every workload; `now` in milliseconds. */
export function measure(now: () => number, milliseconds: number): Figure[] {
  const figures: Figure[] = []
  for (const [workload, chunks, events] of workloads()) {
    const runs: Record<string, number[]> = {}
    for (let round = 0; round < ROUNDS; round++) {
      for (const [peer, make] of peers()) {
        const times = (runs[peer] = runs[peer] || [])
        if (times.length && times[0] * 1000 > PATIENCE) continue
        times.push(timeOf(make, chunks, events, now, milliseconds / ROUNDS))
      }
    }
    const rates: Figure['rates'] = {}
    for (const peer of Object.keys(runs)) {
      const median = runs[peer].sort((a, b) => a - b)[runs[peer].length >> 1]
      rates[peer] = isFinite(median) ? events / median : null
    }
    figures.push({ workload, rates })
  }
  return figures
}

/** Seconds for all of the events; Infinity where they are not all there. */
function timeOf(make: Make, chunks: Uint8Array[], events: number, now: () => number, milliseconds: number): number {
  const start = now()
  let passes = 0
  do {
    const feed = make()
    let seen = 0
    for (const chunk of chunks) seen += feed(chunk)
    if (seen !== events) return Infinity
    passes++
  } while (now() - start < milliseconds)
  return (now() - start) / 1000 / passes
}

function* peers(): Iterable<[string, Make]> {
  yield ['dazi', () => daziFeed]
  yield ['eventsource-parser 4', () => parserFeed(createDecoder())]
  if (typeof TextDecoder !== 'function') yield ['eventsource-parser 4, our decoder', () => parserFeed(createUtf8Decoder())]
  yield ['eventsource-parser 1', () => oldParserFeed(createDecoder())]
  yield ['fetch-event-source', fetchEventSourceFeed]
}

const dazi = createSseParser()

function daziFeed(chunk: Uint8Array): number {
  return dazi.feed(chunk).length
}

interface Decoder {
  decode(bytes: Uint8Array, options: { stream: boolean }): string
}

/** What a program of a peer's has: the platform's decoder, else a polyfill. */
function createDecoder(): Decoder {
  return typeof TextDecoder === 'function' ? new TextDecoder() : new PolyfilledTextDecoder()
}

function parserFeed(decoder: Decoder): Feed {
  let events: unknown[] = []
  const parser = createParser({ onEvent: (event) => events.push(event) })
  return (chunk) => {
    events = []
    parser.feed(decoder.decode(chunk, { stream: true }))
    return events.length
  }
}

/** Version 1, which is also inside @cloudbase/ai. */
function oldParserFeed(decoder: Decoder): Feed {
  let events: unknown[] = []
  const parser = createOldParser((event) => events.push(event))
  return (chunk) => {
    events = []
    parser.feed(decoder.decode(chunk, { stream: true }))
    return events.length
  }
}

/** It makes its decoder by itself, of what is global. */
function fetchEventSourceFeed(): Feed {
  const isMissing = typeof TextDecoder !== 'function'
  let events: unknown[] = []
  if (isMissing) Object.assign(globalThis, { TextDecoder: PolyfilledTextDecoder })
  const feed = getLines(getMessages(() => {}, () => {}, (event) => events.push(event)))
  if (isMissing) Reflect.deleteProperty(globalThis, 'TextDecoder')
  return (chunk) => {
    events = []
    feed(chunk)
    return events.length
  }
}

const DELTA =
  'data: {"id":"chatcmpl-9xK2mQ4vTz7Lw1Rb8Ys3Nc6Hd","object":"chat.completion.chunk","created":1763884800,' +
  '"model":"gpt-4o-2024-11-20","system_fingerprint":"fp_7f6be3efb0","choices":[{"index":0,' +
  '"delta":{"content":"你好"},"logprobs":null,"finish_reason":null}]}\n\n'
const SENTENCE = '微信小程序的流式输出需要处理分块。请求有超时限制,单独设置'

function* workloads(): Iterable<[string, Uint8Array[], number]> {
  const openai = bytesOf(DELTA)
  const tiny = bytesOf('data: 你\n\n')
  yield ['openai, an event a chunk', Array<Uint8Array>(2000).fill(openai), 2000]
  yield ['openai, 16 KiB chunks', cut(repeat(openai, 2000), 16384), 2000]
  yield ['tiny, an event a chunk', Array<Uint8Array>(2000).fill(tiny), 2000]
  yield ['tiny, 16 KiB chunks', cut(repeat(tiny, 5000), 16384), 5000]
  yield ['Chinese, 16 KiB events', cut(repeat(bytesOf('data: ' + SENTENCE.repeat(200) + '\n\n'), 50), 16384), 50]
}

function repeat(bytes: Uint8Array, times: number): Uint8Array {
  const all = new Uint8Array(bytes.length * times)
  for (let index = 0; index < times; index++) all.set(bytes, index * bytes.length)
  return all
}

function cut(bytes: Uint8Array, size: number): Uint8Array[] {
  const chunks = []
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.slice(at, at + size))
  return chunks
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(unescape(encodeURIComponent(text)), (unit) => unit.charCodeAt(0))
}

/** Of OpenAI's events, one a chunk, how many a second are decoded, by our decoder alone: no parser on top of it is faster. */
export function decodingAlone(now: () => number, milliseconds: number): number {
  const [[, chunks, events]] = workloads()
  const decoder = createUtf8Decoder()
  const once = () => timeOf(() => (chunk) => (decoder.decode(chunk) ? 1 : 0), chunks, events, now, milliseconds / ROUNDS)
  const times = Array.from({ length: ROUNDS }, once).sort((a, b) => a - b)
  return events / times[ROUNDS >> 1]
}

/** Time for a mebibyte in one data line, byte by byte, and for a quarter of it: linear work has a ratio of 4. */
export function byteByByte(now: () => number): { milliseconds: number; ratio: number } {
  const once = (size: number) => {
    const parser = createSseParser()
    const byte = new Uint8Array([0x61])
    const start = now()
    for (let count = 0; count < size; count++) parser.feed(byte)
    if (parser.feed('\n\n').length) throw new Error('not a data line')
    return now() - start
  }
  once(1 << 16)
  const quarter = once(1 << 18)
  const milliseconds = once(1 << 20)
  return { milliseconds, ratio: milliseconds / quarter }
}
