import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32, type WireEvent } from '../src/answer.js'
import { begin, next, type Effect, type Input, type StreamState } from '../src/stream.js'
import { randomNumbers } from './suites/sse.js'

const STARTED: Input = { type: 'event', id: '1-1', event: { type: 'started', generation: 'g' } }
const LOST: Input = { type: 'lost', chance: 1 }
const WOKE: Input = { type: 'woke', chance: 1 }

function text(id: string, piece: string, n: number): Input {
  return { type: 'event', id, event: { type: 'text', text: piece, n } }
}

function done(id: string, whole: string): Input {
  const event: WireEvent & { finish_reason: string } = { type: 'done', finish_reason: 'stop', n: whole.length, crc32: crc32(whole) }
  return { type: 'event', id, event }
}

/** Where a row of inputs leads, and what the last of them does. */
function after(...inputs: Input[]): { state: StreamState; effects: Effect[]; call: string | undefined } {
  return follow(begin(false), inputs)
}

function follow(state: StreamState, inputs: Input[]) {
  let effects: Effect[] = []
  for (const input of inputs) [state, effects] = next(state, input)
  const call = effects.map((effect) => (effect.type === 'call' ? effect.call : '')).find(Boolean)
  return { state, effects, call }
}

const OPEN: Input = { type: 'open' }

test('a question is asked again, with its key, until its id is known, and attached to from then on', () => {
  assert.equal(after(OPEN).call, 'start')
  assert.equal(after(OPEN, LOST, WOKE).call, 'start')
  assert.equal(after(OPEN, STARTED, LOST, WOKE).call, 'attach')
})

test('the first time it comes back at once, then later and later, and at last gives up', () => {
  let state = after(OPEN, { type: 'heard' }, STARTED).state
  const waits = []
  for (let count = 0; state.status !== 'ended'; count++) {
    const [lost, effects] = next(state, LOST)
    for (const effect of effects) if (effect.type === 'wake') waits.push(effect.milliseconds)
    state = next(lost, WOKE)[0]
    state = next(state, { type: 'heard' })[0]
    assert.ok(count < 20)
  }
  assert.deepEqual(waits, [0, 1000, 2000, 4000, 8000, 15000, 15000, 15000, 15000, 15000])
  assert.deepEqual([state.end?.code, state.end?.retryable], ['connection_lost', true])
})

test('text goes on, and progress forgives failures', () => {
  const { state } = after(OPEN, STARTED, LOST, WOKE, LOST, WOKE, text('1-2', '你', 1), text('1-3', '好', 2))
  assert.deepEqual([state.answer.text, state.after, state.failures], ['你好', '1-3', 0])
})

test('what is covered already is not added again', () => {
  assert.equal(after(OPEN, STARTED, text('1-2', '你', 1), text('1-2', '你', 1)).state.answer.text, '你')
})

test('a text that does not prove itself is not shown, but read anew, then followed on', () => {
  const doubted = after(OPEN, STARTED, text('1-2', '你', 1), text('1-4', '好', 3))
  assert.deepEqual([doubted.call, doubted.state.answer.text], ['read', '你'])
  const known = follow(doubted.state, [{ type: 'truth', event: { type: 'snapshot', text: '你们好', n: 3, crc32: crc32('你们好') }, next: '1-4', end: null }])
  assert.deepEqual([known.call, known.state.answer.text, known.state.after], ['attach', '你们好', '1-4'])
})

test('a wrong checksum at the end is not the end', () => {
  const wrong = after(OPEN, STARTED, text('1-2', '你', 1), done('1-3', '他'))
  assert.deepEqual([wrong.state.end, wrong.call], [null, 'read'])
})

test('an end ends everything', () => {
  const { state, effects } = after(OPEN, STARTED, text('1-2', '你', 1), done('1-3', '你'))
  assert.deepEqual([state.status, state.end?.type, effects], ['ended', 'done', [{ type: 'cancel' }]])
  assert.deepEqual(follow(state, [LOST, WOKE, { type: 'show' }, { type: 'abort' }]).effects, [])
})

test('a request to reconnect is no failure: at once where text came, with a breath where none did', () => {
  const reconnect: Input = { type: 'event', id: '', event: { type: 'reconnect' } }
  const moved = after(OPEN, STARTED, reconnect)
  assert.deepEqual([moved.call, moved.state.failures], ['attach', 0])
  const { state, effects } = follow(moved.state, [reconnect])
  assert.deepEqual([effects[1], state.failures], [{ type: 'wake', milliseconds: 300 }, 0])
})

test('a stream that stays silent is given up for polls', () => {
  const { state } = after(OPEN, WOKE)
  assert.equal(state.polls, true)
  assert.equal(follow(state, [WOKE]).call, 'submit')
  const submitted = follow(state, [WOKE, { type: 'page', generation: 'g', events: [], next: '0', status: 'running' }, WOKE])
  assert.equal(submitted.call, 'poll')
})

test('a stream that was heard and then fell silent is attached again', () => {
  const { state } = after(OPEN, { type: 'heard' }, STARTED, WOKE)
  assert.equal(state.polls, false)
  assert.equal(follow(state, [WOKE]).call, 'attach')
})

test('in the background a lost line waits for the foreground', () => {
  const hidden = after(OPEN, STARTED, { type: 'hide' }, LOST)
  assert.deepEqual([hidden.state.status, hidden.effects], ['paused', [{ type: 'cancel' }]])
  assert.equal(follow(hidden.state, [{ type: 'show' }]).call, 'attach')
})

test('abort ends at once for the reader, and is told to the gateway until it is heard', () => {
  const aborted = after(OPEN, STARTED, { type: 'abort' })
  assert.deepEqual([aborted.call, aborted.state.end?.type], ['abort', 'aborted'])
  assert.equal(follow(aborted.state, [LOST, WOKE]).call, 'abort')
  const hidden = follow(aborted.state, [{ type: 'hide' }, LOST, { type: 'show' }])
  assert.equal(hidden.call, 'abort')
  assert.equal(follow(hidden.state, [{ type: 'aborted' }]).state.isAborting, false)
})

test('a refusal that asking again cannot help ends it, with its code', () => {
  const problem = { type: 'refused', code: 'unknown_model', message: 'no', retryable: false, seconds: 0 } as const
  assert.equal(after(OPEN, problem).state.end?.code, 'unknown_model')
  const later = after(OPEN, { ...problem, retryable: true, seconds: 7 })
  assert.deepEqual(later.effects[1], { type: 'wake', milliseconds: 7000 })
  const limit = { ...problem, code: 'too_many_starts', retryable: true, seconds: 40 }
  assert.deepEqual(after(OPEN, limit).state.end, { type: 'failed', code: 'too_many_starts', message: 'no', retryable: true }, 'nobody is kept waiting')
  assert.equal(after(OPEN, STARTED, limit).state.end, null, 'what runs is waited for')
})

test('whatever happens, one call at most is under way, and nothing follows the end', () => {
  const truth: Input = { type: 'truth', event: { type: 'snapshot', text: 'ab', n: 2 }, next: '1-9', end: null }
  const inputs: Input[] = [
    STARTED, LOST, WOKE, text('1-2', 'a', 1), text('1-3', 'b', 2), text('1-3', 'b', 9), { type: 'heard' }, { type: 'garbled' }, truth,
    { type: 'hide' }, { type: 'show' }, { type: 'lost', late: true, chance: 0 }, done('1-4', 'ab'), { type: 'abort' }, { type: 'aborted' },
    { type: 'page', generation: 'g', events: [{ type: 'text', text: 'a', n: 1 }], next: '1-2', status: 'running' },
    { type: 'refused', code: 'x', message: '', retryable: true, seconds: 1 }, { type: 'close' },
  ]
  for (let seed = 0; seed < 3000; seed++) {
    const random = randomNumbers(seed)
    let [state] = next(begin(seed % 2 > 0), OPEN)
    let open = 1
    for (let count = 0; count < 60; count++) {
      const usual = inputs.length - (random() < 0.9 ? 7 : 0)
      const [then, effects] = next(state, inputs[Math.floor(random() * usual)])
      for (const effect of effects) open = effect.type === 'cancel' ? 0 : effect.type === 'call' ? open + 1 : open
      assert.ok(open <= 1, `seed ${seed}: ${open} calls`)
      if (state.status === 'ended' && !state.isAborting) assert.deepEqual(effects, [])
      assert.ok(then.answer.text.length >= state.answer.text.length || then.isDoubted || then.after !== state.after)
      state = then
    }
  }
})
