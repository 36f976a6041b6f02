/**
 * How fast events come out of bytes, beside the peers, interleaved in one run on one engine.
 *
 * Bundled by run.ts for Node and for QuickJS; nothing here may need more than ECMAScript.
 */

import { createParser } from 'eventsource-parser'
import { TextDecoder as PolyfilledTextDecoder } from 'text-encoding'
import { createSseParser } from '../src/sse.js'
import { createPortableDecoder, createUtf8Decoder } from '../src/utf8.js'

type Feed = (chunk: Uint8Array) => number
type Make = () => Feed

export interface Figure {
  workload: string
  peer: string
  unit: 'events/s' | 'MB/s'
  value: number
}

const ROUNDS = 5

/** Measure every peer on every workload; `now` in milliseconds. */
export function measure(now: () => number, milliseconds: number): Figure[] {
  const figures: Figure[] = []
  for (const [workload, chunks, events] of workloads()) {
    const runs = new Map<string, number[]>()
    for (let round = 0; round < ROUNDS; round++) {
      for (const [peer, make] of peers()) {
        const seconds = timeOf(make, chunks, events, now, milliseconds / ROUNDS)
        runs.set(peer, [...(runs.get(peer) || []), seconds])
      }
    }
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    for (const [peer, seconds] of runs) {
      const median = seconds.sort((a, b) => a - b)[ROUNDS >> 1]
      figures.push({ workload, peer, unit: 'events/s', value: events / median })
      figures.push({ workload, peer, unit: 'MB/s', value: bytes / median / 1e6 })
    }
  }
  return figures
}

function timeOf(make: Make, chunks: Uint8Array[], events: number, now: () => number, milliseconds: number): number {
  const start = now()
  let passes = 0
  do {
    const feed = make()
    let seen = 0
    for (const chunk of chunks) seen += feed(chunk)
    if (seen !== events) throw new Error(`${seen} events instead of ${events}`)
    passes++
  } while (now() - start < milliseconds)
  return (now() - start) / 1000 / passes
}

function* peers(): Iterable<[string, Make]> {
  yield ['dazi', () => daziFeed]
  if (typeof TextDecoder === 'function') {
    yield ['eventsource-parser + TextDecoder', () => peerFeed(new TextDecoder())]
  }
  yield ['eventsource-parser + our decoder', () => peerFeed(createUtf8Decoder())]
  yield ['eventsource-parser + text-encoding', () => peerFeed(new PolyfilledTextDecoder())]

  function daziFeed(chunk: Uint8Array): number {
    return dazi.feed(chunk).length
  }
}

const dazi = createSseParser()

function peerFeed(decoder: { decode(bytes: Uint8Array, options: { stream: boolean }): string }): Feed {
  let events: unknown[] = []
  const parser = createParser({ onEvent: (event) => events.push(event) })
  return (chunk) => {
    events = []
    parser.feed(decoder.decode(chunk, { stream: true }))
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
  yield ['tiny, 16 KiB chunks', cut(repeat(tiny, 20000), 16384), 20000]
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

/** The decoder alone, MB/s, on whole 16 KiB chunks. */
export function decoderSpeed(now: () => number, milliseconds: number): Record<string, number> {
  const speed: Record<string, number> = {}
  const texts = { openai: DELTA.repeat(45), Chinese: SENTENCE.repeat(200), ascii: 'data: {"text":"\\u4f60"}\n\n'.repeat(700) }
  for (const [name, text] of Object.entries(texts)) {
    const bytes = bytesOf(text)
    const decoder = createPortableDecoder()
    const start = now()
    let count = 0
    for (; now() - start < milliseconds; count++) decoder.decode(bytes)
    speed[name] = (count * bytes.length) / (now() - start) / 1000
  }
  return speed
}
