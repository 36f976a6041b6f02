/**
 * How a client follows a generation, as a pure function: what it knows and what happens give what it knows then, and
 * what is to be done. No I/O, no time, no chance: all of these come in and go out as data.
 *
 * Laws:
 * - at most one call is under way, and none in the background once the platform has ended it;
 * - an answer that does not prove itself is read anew before it is shown further;
 * - a position is remembered only together with what it covers, so nothing is lost or doubled by coming back;
 * - a question is asked with one key, so that coming back never starts a second answer;
 * - every wait has a limit, and every row of failures: the end always comes.
 */

import { EMPTY, fold, isEnd, isProven, type Answer, type End, type WireEvent } from './answer.js'

export type Status = 'connecting' | 'streaming' | 'polling' | 'paused' | 'ended'

/** A request of PROTOCOL.md, section 2. `submit` is a start that is not streamed. */
export type Call = 'start' | 'submit' | 'attach' | 'poll' | 'read' | 'abort'

export interface StreamState {
  readonly status: Status
  readonly answer: Answer
  readonly end: End | null
  /** The generation's id; "" until the gateway has told it. */
  readonly generation: string
  /** The position that the answer covers. */
  readonly after: string
  readonly call: Call | 'none'
  /** Whether anything came on this call. */
  readonly isHeard: boolean
  /** Whether the answer moved on on this call. */
  readonly isMoved: boolean
  /** Failures in a row. */
  readonly failures: number
  /** Whether streams are given up in favour of polls. */
  readonly polls: boolean
  /** Whether the answer did not prove itself, and has to be read. */
  readonly isDoubted: boolean
  readonly isHidden: boolean
  readonly isAborting: boolean
}

export type Input =
  | { type: 'open' }
  /** Bytes of any kind came on the stream. */
  | { type: 'heard' }
  | { type: 'event'; event: WireEvent; id: string }
  /** Something came that is not this protocol. */
  | { type: 'garbled' }
  | { type: 'page'; generation: string; events: WireEvent[]; next: string; status: string }
  | { type: 'truth'; event: WireEvent; next: string; end: End | null }
  | { type: 'aborted' }
  /** The gateway said no. */
  | { type: 'refused'; code: string; message: string; retryable: boolean; seconds: number }
  /** The call ended without an end of the generation; `late`: what it brought came all at once, at its end. */
  | { type: 'lost'; late?: boolean; chance: number }
  | { type: 'woke'; chance: number }
  | { type: 'hide' }
  | { type: 'show' }
  | { type: 'abort' }
  | { type: 'close' }

export type Effect =
  /** Cancel the call under way and the wake-up that is due. */
  | { type: 'cancel' }
  | { type: 'call'; call: Call }
  /** Bring `woke` after so many milliseconds, instead of the one that is due. */
  | { type: 'wake'; milliseconds: number }

type Step = [StreamState, Effect[]]

// `started` is sent at once, so this is a connection, a round trip, and a slow network.
const FIRST_BYTE = 5_000

// Three heartbeats; see STREAM in client.ts.
const SILENCE = 15_000

// A poll waits at most 25 s at the gateway.
const ANSWER = 35_000

// More often nobody can see.
const POLL_GAP = 300

const MOST_FAILURES = 10
const LONGEST_PAUSE = 15_000

export function begin(polls: boolean, known?: Partial<StreamState>): StreamState {
  return {
    status: 'connecting', answer: EMPTY, end: null, generation: '', after: '0', call: 'none', isHeard: false, isMoved: false,
    failures: 0, polls, isDoubted: false, isHidden: false, isAborting: false, ...known,
  }
}

export function next(state: StreamState, input: Input): Step {
  if (state.status === 'ended' && !state.isAborting) return [state, []]
  switch (input.type) {
    case 'open':
      return connect(state)
    case 'heard':
      return [{ ...state, isHeard: true, status: 'streaming' }, [{ type: 'wake', milliseconds: SILENCE }]]
    case 'event':
      return takeEvent(state, input.event, input.id)
    case 'garbled':
      return doubt(state)
    case 'page':
      return takePage(state, input.events, input.generation, input.next, input.status)
    case 'truth':
      return takeTruth(state, input.event, input.next, input.end)
    case 'aborted':
      return rest({ ...state, isAborting: false })
    case 'refused':
      return refuse(state, input)
    case 'lost':
      return lose({ ...state, polls: state.polls || !!input.late || isRefusedStream(state) }, input.chance)
    case 'woke':
      return wake(state, input.chance)
    case 'hide':
      return [{ ...state, isHidden: true }, []]
    case 'show':
      return connect({ ...state, isHidden: false, failures: 0 })
    case 'abort':
      return connect(ended({ ...state, isAborting: true, failures: 0 }, { type: 'aborted' }))
    case 'close':
      return rest({ ...state, status: 'ended' })
  }
}

/** Make the call that is due, instead of any that is under way. */
function connect(state: StreamState): Step {
  if (state.isHidden) return pause(state)
  const call = dueCall(state)
  const effects: Effect[] = [{ type: 'cancel' }, { type: 'call', call }, { type: 'wake', milliseconds: isStream(call) ? FIRST_BYTE : ANSWER }]
  return [{ ...state, call, status: statusOf(state), isHeard: false, isMoved: false }, effects]
}

/** While nothing has come, or comes: an end stays one. */
function statusOf(state: StreamState, otherwise: Status = state.polls ? 'polling' : 'connecting'): Status {
  return state.status === 'ended' ? 'ended' : otherwise
}

function pause(state: StreamState): Step {
  return rest({ ...state, status: statusOf(state, 'paused') })
}

/** No call, and the next one after some milliseconds, or when something happens. */
function rest(state: StreamState, milliseconds?: number): Step {
  const wake: Effect[] = milliseconds === undefined ? [] : [{ type: 'wake', milliseconds }]
  return [{ ...state, call: 'none' }, [{ type: 'cancel' }, ...wake]]
}

function dueCall(state: StreamState): Call {
  if (state.isAborting) return 'abort'
  if (!state.generation) return state.polls ? 'submit' : 'start'
  if (state.isDoubted) return 'read'
  return state.polls ? 'poll' : 'attach'
}

export function isStream(call: Call | 'none'): boolean {
  return call === 'start' || call === 'attach'
}

function isSilentStream(state: StreamState): boolean {
  return isStream(state.call) && !state.isHeard
}

/** Some debuggers fail whatever asks for chunks; a network that is down fails polls as well. */
function isRefusedStream(state: StreamState): boolean {
  return isSilentStream(state) && state.failures >= 3
}

function takeEvent(state: StreamState, event: WireEvent, id: string): Step {
  if (event.type === 'reconnect') return comeBack(state)
  if (event.type !== 'snapshot' && isCovered(id, state.after)) return [state, []]
  const answer = fold(state.answer, event)
  if (!isProven(answer, event)) return doubt(state)
  const generation = event.type === 'started' && event.generation ? event.generation : state.generation
  const moved = { ...state, answer, generation, after: id || state.after, isMoved: true, failures: 0 }
  return isEnd(event) ? finish(moved, event) : [moved, []]
}

/** The gateway asked for it: no failure. Where nothing was said since the last time, not too fast. */
function comeBack(state: StreamState): Step {
  return state.isMoved ? connect(state) : rest(state, POLL_GAP)
}

/** Whether the position is one that the answer has already. */
function isCovered(id: string, after: string): boolean {
  const [epoch, position] = id.split('-')
  const [epochAfter, positionAfter] = after.split('-')
  return epoch === epochAfter && +position <= +positionAfter
}

function takePage(state: StreamState, events: WireEvent[], generation: string, position: string, status: string): Step {
  let step: Step = [{ ...state, generation }, []]
  for (const event of events) {
    step = takeEvent(step[0], event, '')
    if (step[0].call !== state.call) return step // it was the end, or is doubted
  }
  const taken = { ...step[0], after: position, failures: 0 }
  if (state.call !== 'submit' && status !== 'running' && !events.length) return doubt(taken)
  return rest(taken, state.call === 'submit' ? 0 : POLL_GAP)
}

function takeTruth(state: StreamState, event: WireEvent, position: string, end: End | null): Step {
  const answer = fold(state.answer, event)
  if (!isProven(answer, event)) return lose(state, 1)
  const known = { ...state, answer, after: position, isDoubted: false }
  return end ? finish(known, end) : connect(known)
}

/** Read the answer anew; a second doubt in a row counts as a failure, so that this ends. */
function doubt(state: StreamState): Step {
  const doubted = { ...state, isDoubted: true, failures: state.failures + 1 }
  return doubted.failures > MOST_FAILURES ? giveUp(doubted) : connect(doubted)
}

function finish(state: StreamState, end: End): Step {
  return rest(ended(state, end))
}

function ended(state: StreamState, end: End): StreamState {
  return { ...state, status: 'ended', end: state.end || end }
}

/** A question that was not taken is not held for long, but told: it can be asked again. */
function refuse(state: StreamState, { code, message, retryable, seconds }: { code: string; message: string; retryable: boolean; seconds: number }): Step {
  if (retryable && (state.generation || seconds * 1000 <= LONGEST_PAUSE)) return lose(state, 1, seconds * 1000)
  return finish({ ...state, isAborting: false }, { type: 'failed', code, message, retryable })
}

function wake(state: StreamState, chance: number): Step {
  if (state.call === 'none') return connect(state)
  return lose({ ...state, polls: state.polls || isSilentStream(state) }, chance)
}

/** Come back: at once the first time, then later and later, by chance so that not all clients do at the same time. */
function lose(state: StreamState, chance: number, atLeast = 0): Step {
  if (state.isHidden) return pause(state)
  const failures = state.failures + 1
  if (failures > MOST_FAILURES) return giveUp(state)
  const longest = failures === 1 ? 0 : Math.min(LONGEST_PAUSE, 250 * 2 ** failures)
  return rest({ ...state, failures, status: statusOf(state) }, Math.max(atLeast, longest * (0.5 + chance / 2)))
}

function giveUp(state: StreamState): Step {
  const message = 'The gateway cannot be reached; what was said stands.'
  return finish({ ...state, isAborting: false }, { type: 'failed', code: 'connection_lost', message, retryable: true })
}
