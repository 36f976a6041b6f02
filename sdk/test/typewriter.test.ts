import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTypewriter, type Frame } from '../src/typewriter.js'
import { createClock } from './clock.js'
import { graphemes } from './suites/graphemes.js'
import { randomNumbers } from './suites/sse.js'

interface Arrival {
  at: number
  piece: string
}

const MIXED = '微信小程序的流式输出,一个字也不能少。Streaming text ends 👩‍👩‍👧‍👦 🇨🇳🇺🇸 👍🏽 é \r\n कि 각 𠮷 ❤️ . '
const TEXT = MIXED.repeat(20).slice(0, 1200)

function studio() {
  const clock = createClock()
  const frames: (Frame & { at: number })[] = []
  const typewriter = createTypewriter((frame) => frames.push({ ...frame, at: clock.now() }), clock)
  const texts = () => frames.map((frame) => frame.text)
  return { clock, frames, typewriter, texts }
}

/** Cut into pieces, also inside characters, that arrive at a steady rate. */
function steady(text: string, perSecond: number, size: number): Arrival[] {
  const arrivals = []
  for (let at = 0; at < text.length; at += size) {
    arrivals.push({ at: (at / perSecond) * 1000, piece: text.slice(at, at + size) })
  }
  return arrivals
}

/** The five patterns of arrival that were measured with phones in mind. */
const PATTERNS: Record<string, { arrivals: Arrival[]; lag: number }> = {
  'smooth, 60 characters a second': { arrivals: steady(TEXT, 60, 2), lag: 500 },
  'bursts each 0.4 s': { arrivals: steady(TEXT, 60, 24), lag: 500 },
  '150 characters a second': { arrivals: steady(TEXT, 150, 3), lag: 500 },
  'stalls of 2.5 s': {
    arrivals: steady(TEXT, 60, 2).map(({ at, piece }) => ({ at: at + 2500 * Math.floor(at / 5000), piece })),
    lag: 500,
  },
  'everything at 20 s': { arrivals: [{ at: 20000, piece: TEXT }], lag: 1000 },
}

for (const [pattern, { arrivals, lag }] of Object.entries(PATTERNS)) {
  for (const mode of ['append', 'replace'] as const) {
    test(`${pattern}, ${mode}: all is seen soon after the end, whole characters only, 20 frames a second at most`, () => {
      const { clock, frames, typewriter } = studio()
      let text = ''
      for (const { at, piece } of arrivals) {
        clock.advance(at - clock.now())
        text += piece
        if (mode === 'append') typewriter.append(piece)
        else typewriter.replace(text)
      }
      typewriter.end()
      const end = clock.now()
      clock.advance(5000)
      const last = frames[frames.length - 1]
      assert.equal(last.text, TEXT)
      assert.ok(last.at - end <= lag, `${last.at - end} ms after the end`)
      assertWholeGraphemes(frames, TEXT)
      assertAddsUp(frames)
      assertRate(frames)
    })
  }
}

function assertWholeGraphemes(frames: Frame[], text: string): void {
  const ends = new Set([0])
  let end = 0
  for (const part of graphemes(text)) ends.add((end += part.length))
  for (const frame of frames) assert.ok(ends.has(frame.text.length), `a frame ends inside a character, at ${frame.text.length}`)
}

function assertAddsUp(frames: Frame[]): void {
  let before = ''
  for (const frame of frames) {
    assert.equal(frame.text.slice(0, frame.kept), before.slice(0, frame.kept))
    before = frame.text
  }
  assert.deepEqual(frames.filter((frame) => frame.done), frames.slice(-1))
}

function assertRate(frames: { at: number }[]): void {
  for (let index = 1; index < frames.length; index++) assert.ok(frames[index].at - frames[index - 1].at >= 50)
}

test('any cutting, pausing, flushing and replacing ends in the text, in whole characters', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = randomNumbers(seed)
    const { clock, frames, typewriter } = studio()
    let length = 0
    while (length < 300) {
      const next = Math.min(300, length + Math.floor(random() * 12))
      if (random() < 0.5) typewriter.append(TEXT.slice(length, next))
      else typewriter.replace(TEXT.slice(0, next))
      length = next
      if (random() < 0.1) typewriter.flush()
      if (random() < 0.1) typewriter.pause()
      if (random() < 0.2) typewriter.resume()
      clock.advance(random() * 200)
    }
    typewriter.resume()
    typewriter.end()
    clock.advance(1000)
    assert.equal(frames[frames.length - 1].text, TEXT.slice(0, 300), `seed ${seed}`)
    assertWholeGraphemes(frames, TEXT.slice(0, 300))
    assertAddsUp(frames)
  }
})

test('a burst after a long silence is typed, not thrown', () => {
  const { clock, typewriter, texts } = studio()
  typewriter.append('ab')
  clock.advance(10000)
  typewriter.append('x'.repeat(160))
  assert.ok(texts()[1].length < 20)
})

test('the first character is seen at once', () => {
  const { typewriter, texts } = studio()
  typewriter.append('你好')
  assert.deepEqual(texts(), ['你'])
})

test('half a surrogate pair behind a character does not let it out', () => {
  const { clock, typewriter, texts } = studio()
  typewriter.append('👍\ud83c')
  clock.advance(1000)
  assert.deepEqual(texts(), [])
  typewriter.append('\udffd!')
  typewriter.end()
  clock.advance(1000)
  assert.deepEqual(texts().pop(), '👍🏽!')
})

test('replaced text is taken back to the last common character', () => {
  const { clock, frames, typewriter } = studio()
  typewriter.append('The answer is 👩 and so')
  clock.advance(5000)
  typewriter.replace('The answer is 👩‍🚀!')
  clock.advance(5000)
  assert.equal(frames.find((frame) => frame.text.length < frame.kept), undefined)
  assert.ok(frames.some((frame) => frame.kept === 'The answer is '.length && frame.text.endsWith('👩‍🚀')))
})

test('a retraction is shown also when nothing follows it', () => {
  const { clock, typewriter, texts } = studio()
  typewriter.append('something bad ')
  clock.advance(5000)
  typewriter.replace('')
  clock.advance(5000)
  assert.equal(texts().pop(), '')
})

test('in the background nothing is shown, and nothing is lost', () => {
  const { clock, frames, typewriter } = studio()
  typewriter.pause()
  typewriter.append('你好,世界')
  typewriter.flush()
  typewriter.end()
  clock.advance(60000)
  assert.equal(frames.length, 0)
  typewriter.resume()
  clock.advance(1000)
  assert.deepEqual(frames[frames.length - 1].text, '你好,世界')
})

test('flush shows at once what is whole, end the rest', () => {
  const { clock, typewriter, texts } = studio()
  typewriter.append('a'.repeat(100))
  typewriter.flush()
  assert.equal(texts().pop()?.length, 99)
  typewriter.end()
  clock.advance(100)
  assert.equal(texts().pop()?.length, 100)
})

test('nothing is shown after stop', () => {
  const { clock, frames, typewriter } = studio()
  typewriter.append('a'.repeat(100))
  typewriter.stop()
  typewriter.append('b')
  typewriter.flush()
  clock.advance(1000)
  assert.equal(frames.length, 1)
})

test('a clock that is set back an hour delays nothing', () => {
  const { clock, typewriter, texts } = studio()
  clock.set(3_600_000)
  typewriter.append('a'.repeat(100))
  clock.set(0)
  typewriter.end()
  clock.advance(1000)
  assert.equal(texts().pop()?.length, 100)
})

test('an empty text still ends', () => {
  const { frames, typewriter } = studio()
  typewriter.end()
  assert.deepEqual(frames, [{ text: '', kept: 0, done: true, at: 0 }])
})
