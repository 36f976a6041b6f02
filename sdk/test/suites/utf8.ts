/** Digests of what a decoder makes of many byte strings. Runs on any engine; Node's TextDecoder is the oracle. */

import { createPortableDecoder, createUtf8Decoder, type Utf8Decoder } from '../../src/utf8.js'
import { range } from './sse.js'

/** Both sides of every bound in the table of the Unicode Standard's well-formed byte sequences. */
const BOUNDS = [
  0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0,
  0xf1, 0xf3, 0xf4, 0xf5, 0xff,
]

const MIXED = 'A é Привет 微信小程序,流式输出。😀👩‍👩‍👧 🇨🇳 𠮷 \0\u07ff\u0800\uffff'

type Make = () => Utf8Decoder

export const makers: Record<'portable' | 'chosen', Make> = { portable: createPortableDecoder, chosen: createUtf8Decoder }

/** One digest for each first byte: all strings of three bytes, alone and inside other text; of four where the second has bounds of its own. */
export function boundaryDigests(make: Make): string[] {
  return BOUNDS.map((first) => {
    const digest = createDigest()
    for (const rest of strings(first === 0xf0 || first === 0xf4 ? 3 : 2)) digest.add(wholeText(make, [first, ...rest]))
    for (const rest of strings(2)) digest.add(wholeText(make, [...OTHER_TEXT, first, ...rest, ...OTHER_TEXT]))
    return digest.value()
  })
}

/** One digest of all code points, in texts longer than what is decoded at once, which end at each place in a character. */
export function codePointDigest(make: Make): string {
  const digest = createDigest()
  let before = ''
  for (let start = 0; start < 0x110000; start += 0x800) {
    if (start === 0xd800) continue
    const text = String.fromCodePoint(...range(start, start + 0x7ff))
    digest.add(wholeText(make, bytesOf('x'.repeat((start >> 11) % 4) + before + text)))
    before = text
  }
  return digest.value()
}

/** The texts that differ when mixed text, with and without bad bytes, is cut in two or three, or byte by byte. */
export function cutFailures(make: Make): string[] {
  const failures: string[] = []
  for (const bytes of [bytesOf(MIXED), [...bytesOf(MIXED.repeat(4)), 0xe4, 0xbd], [...OTHER_TEXT, 0xf0, 0x9f, ...OTHER_TEXT, 0xf0, 0x9f, 0x98]]) {
    const whole = wholeText(make, bytes)
    const check = (ends: number[]) => {
      if (piecewiseText(make, bytes, ends) !== whole) failures.push(`${ends}`)
    }
    check(range(1, bytes.length))
    for (const cut of range(0, bytes.length)) for (const next of [0, 1, 2, 3, 70]) check([cut, Math.min(bytes.length, cut + next), bytes.length])
  }
  return failures
}

const OTHER_TEXT = bytesOf('微信é'.repeat(3))

function* strings(length: number): Iterable<number[]> {
  if (!length) return yield []
  for (const rest of strings(length - 1)) for (const byte of BOUNDS) yield [byte, ...rest]
}

function wholeText(make: Make, bytes: number[]): string {
  return piecewiseText(make, bytes, [bytes.length])
}

function piecewiseText(make: Make, bytes: number[], ends: number[]): string {
  const decoder = make()
  let text = ''
  let start = 0
  for (const end of ends) {
    text += decoder.decode(Uint8Array.from(bytes.slice(start, end)))
    start = end
  }
  return text + decoder.end()
}

function bytesOf(text: string): number[] {
  return Array.from(unescape(encodeURIComponent(text)), (unit) => unit.charCodeAt(0))
}

/** FNV-1a over UTF-16 units, with a mark behind each text. */
function createDigest() {
  let hash = 0x811c9dc5
  const mix = (unit: number) => (hash = Math.imul(hash ^ unit, 0x01000193))
  return {
    add(text: string) {
      for (let index = 0; index < text.length; index++) mix(text.charCodeAt(index))
      mix(-1)
    },
    value: () => (hash >>> 0).toString(16),
  }
}
