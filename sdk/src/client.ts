/**
 * A client for Dazi's gateway: the shell around stream.ts. It sends what that decides, and tells it what happens.
 */

import { EMPTY, isEnd, type Answer, type End, type WireEvent } from './answer.js'
import type { Platform, PlatformRequest, Reception } from './platform.js'
import { createSseParser, textOf, type Chunk, type SseParser } from './sse.js'
import { begin, isStream, next, type Call, type Effect, type Input, type Status, type StreamState } from './stream.js'

export interface ClientOptions {
  /** Where the gateway is, as in `https://example.com`. */
  url: string
  platform: Platform
  /** Sent with every request. */
  headers?: Record<string, string>
}

export interface Update extends Answer {
  readonly status: Status
  /** How it ended; null before that, and where it was only closed. */
  readonly end: End | null
  /** The generation's id, to attach to it again; "" until it is known. */
  readonly generation: string
  /** The position that the answer covers, to go on from it in another life of the program. */
  readonly after: string
}

/** An answer as an earlier `Update` told it. */
export interface Progress extends Partial<Answer> {
  readonly after: string
}

export interface Following {
  /** Stop the generation, and the model. What was said stands. */
  abort(): void
  /** Follow no longer; the generation goes on. */
  close(): void
}

export interface Client {
  /**
   * Ask, and follow the answer: `body` is a chat request. One answer is followed at a time: an earlier one is closed.
   */
  ask(body: object, onUpdate: (update: Update) => void, options?: { key?: string; replace?: boolean }): Following
  /** Follow an answer that was asked for before: from its start, or from what an earlier update told. */
  attach(generation: string, onUpdate: (update: Update) => void, from?: Progress): Following
}

// Platforms cut at 60 s; before that the gateway asks to come back, which costs nothing.
const STREAM = '?max=50&heartbeat=5&inband=1'
const POLL_SECONDS = 20

interface Question {
  body: string
  key: string
  replace: boolean
}

export function createClient(options: ClientOptions): Client {
  let polls = !options.platform.streams // remembered once a platform has shown that its streams are none
  let current: Following | undefined

  function followOnly(question: Question, onUpdate: (update: Update) => void, known?: Partial<StreamState>): Following {
    if (current) current.close()
    const remember = () => (polls = true)
    return (current = follow(options, question, begin(polls, known), onUpdate, remember))
  }

  return {
    ask: (body, onUpdate, { key = randomKey(), replace = false } = {}) =>
      followOnly({ body: JSON.stringify(body), key, replace }, onUpdate),
    attach(generation, onUpdate, { after = '0', ...answer }: Partial<Progress> = {}) {
      return followOnly({ body: '', key: '', replace: false }, onUpdate, { generation, after, answer: { ...EMPTY, ...answer } })
    },
  }
}

/** Not a secret: it only has to differ from the keys of the same owner. */
function randomKey(): string {
  let key = Date.now().toString(36)
  while (key.length < 32) key += Math.random().toString(36).slice(2)
  return key.slice(0, 32)
}

function follow(
  options: ClientOptions,
  question: Question,
  start: StreamState,
  onUpdate: (update: Update) => void,
  onPolls: () => void,
): Following {
  const { platform } = options
  let state = start
  let told: StreamState | undefined // what the last update said
  let cancelCall = () => {}
  let cancelWake = () => {}

  function happen(input: Input): void {
    const [after, effects] = next(state, input)
    if (after.polls && !state.polls) onPolls()
    state = after
    effects.forEach(act)
    if (state.status === 'ended' && !state.isAborting) stopWatching()
    if (told && isSame(told, state)) return
    told = state
    onUpdate({ ...state.answer, status: state.status, end: state.end, generation: state.generation, after: state.after })
  }

  function act(effect: Effect): void {
    if (effect.type === 'call') return call(effect.call)
    cancelWake()
    if (effect.type === 'cancel') cancelCall()
    else cancelWake = platform.clock.later(() => happen({ type: 'woke', chance: Math.random() }), effect.milliseconds)
  }

  function call(name: Call): void {
    let isCurrent = true
    const happenHere = (input: Input) => {
      if (isCurrent) happen(input)
    }
    const reception = isStream(name) ? streamReception(happenHere) : answerReception(name, happenHere)
    const cancel = platform.send(requestOf(name, options, question, state), reception)
    cancelCall = () => {
      isCurrent = false
      cancel()
    }
  }

  const stopWatching = platform.watchVisibility((visible) => happen({ type: visible ? 'show' : 'hide' }))
  happen({ type: 'open' })
  return { abort: () => happen({ type: 'abort' }), close: () => happen({ type: 'close' }) }
}

function isSame(one: StreamState, other: StreamState): boolean {
  return one.answer === other.answer && one.status === other.status && one.end === other.end && one.generation === other.generation
}

/** Sections 2.1 to 2.6 of PROTOCOL.md. */
function requestOf(call: Call, { url, headers }: ClientOptions, { body, key, replace }: Question, state: StreamState): PlatformRequest {
  const mode = replace ? '&mode=replace' : ''
  const path = {
    start: STREAM + mode,
    submit: '',
    attach: `/events${STREAM}${mode}&after=${state.after}`,
    poll: `/events?after=${state.after}&wait=${POLL_SECONDS}${mode}`,
    read: '',
    abort: '/abort',
  }[call]
  const base = `${url}/v1/generations${state.generation && `/${state.generation}`}`
  const accept = { ...headers, Accept: isStream(call) ? 'text/event-stream' : 'application/json' }
  const request = { url: base + path, streamed: isStream(call) }
  if (call === 'attach' || call === 'poll' || call === 'read') return { ...request, method: 'GET', headers: accept }
  const keyed = { ...accept, 'Content-Type': 'application/json', ...(key && { 'Idempotency-Key': key }) }
  return { ...request, method: 'POST', headers: keyed, body: call === 'abort' ? '' : body }
}

function streamReception(happen: (input: Input) => void): Reception {
  const parser = createSseParser()
  let isEmpty = true

  function take(chunk: Chunk): void {
    happen({ type: 'heard' })
    for (const input of inputsOf(parser, chunk)) happen(input)
  }

  return {
    chunk(chunk) {
      isEmpty = false
      take(chunk)
    },
    end(status, body) {
      if (status >= 400) return happen(refusalOf(status, body))
      // 204: everything is here, says the gateway, but there was no end: read it.
      if (status === 204) return happen({ type: 'garbled' })
      if (isEmpty) take(body)
      happen({ type: 'lost', late: isEmpty, chance: Math.random() })
    },
    fail: () => happen({ type: 'lost', chance: Math.random() }),
  }
}

function inputsOf(parser: SseParser, chunk: Chunk): Input[] {
  const inputs: Input[] = []
  try {
    for (const { data, id } of parser.feed(chunk)) inputs.push(inputOf(JSON.parse(data), id))
  } catch {
    inputs.push({ type: 'garbled' }) // no JSON, or an event without end
  }
  return inputs
}

function inputOf(event: WireEvent & Partial<Problem>, id: string): Input {
  return event.type === 'error' ? refusal(event, 'error') : { type: 'event', event, id }
}

function answerReception(name: Call, happen: (input: Input) => void): Reception {
  return {
    chunk() {},
    end(status, body) {
      happen(status >= 400 ? refusalOf(status, body) : resultOf(name, body))
    },
    fail: () => happen({ type: 'lost', chance: Math.random() }),
  }
}

/** What a gateway answers, after PROTOCOL.md, sections 2.1 and 2.3 to 2.5. */
interface Result {
  generation: string
  status: string
  events: WireEvent[]
  next: string
  error: { code: string; message: string; retryable: boolean } | null
  finish_reason: string | null
  usage: object | null
  n: number
  crc32: number
}

function resultOf(name: Call, body: Chunk): Input {
  const result: Result | undefined = parse(body)
  if (!result) return { type: 'lost', chance: Math.random() }
  if (name === 'abort') return { type: 'aborted' }
  if (name === 'submit') return { type: 'page', generation: result.generation, events: [], next: '0', status: 'running' }
  if (name === 'poll') return { ...result, type: 'page' }
  const { status: type, error, finish_reason, usage, n, crc32 } = result
  const end: unknown = { type, ...error, finish_reason, usage, n, crc32 }
  // The cast: `isEnd` has looked at the type, and the rest is as the protocol says.
  return { type: 'truth', event: { ...result, type: 'snapshot' }, next: result.next, end: isEnd({ type }) ? (end as End) : null }
}

/** Section 6 of PROTOCOL.md. */
interface Problem {
  code: string
  message: string
  retryable: boolean
  retry_after: number
}

function refusalOf(status: number, body: Chunk): Input {
  const answer: { error?: Partial<Problem> } | undefined = parse(body)
  if (answer && answer.error) return refusal(answer.error, `http_${status}`)
  const retryable = status >= 500 || status === 429 || status === 408
  return refusal({ message: `The gateway answered ${status}.`, retryable }, `http_${status}`) // a proxy on the way
}

function refusal({ code, message = '', retryable = false, retry_after = 0 }: Partial<Problem>, otherwise: string): Input {
  return { type: 'refused', code: code || otherwise, message, retryable, seconds: retry_after }
}

/** JSON of any kind, which its callers name, or nothing where it is none. */
function parse<T>(body: Chunk): T | undefined {
  try {
    return JSON.parse(textOf(body))
  } catch {
    return undefined
  }
}
