/**
 * One answer at a time: asked, followed, and kept so that it goes on after the program was killed.
 *
 * Laws: how far an answer has come is kept at least each second; a session that has ended is renewed once, silently; a
 * question is asked under one key until its answer has ended, so it is never answered twice.
 */

import { createClient, type Following, type Update } from 'dazi/client'
import type { Platform } from 'dazi/platform'
import { randomId, type Message, type PromptMessage } from './conversation'
import { LoginError, type Session } from './session'
import type { Flight, Store } from './store'

/** What is known of an answer now. */
export type News = Partial<Message> & { text: string }

export interface Answering {
  ask(conversation: string, message: string, prompt: PromptMessage[]): void
  /** Go on where an earlier life of the program, or a lost connection, left off. */
  resume(flight: Flight): void
  stop(): void
  /** Keep what there is: the program may be killed now. */
  keep(): void
  /** The answer on its way; undefined where there is none. */
  flight(): Flight | undefined
}

export interface AnsweringOptions {
  gateway: string
  model: string
  platform: Platform
  session: Session
  store: Store
  /** The answer has grown, or the line has changed. */
  onNews(flight: Flight, news: News, status: Update['status']): void
  /** The answer has ended. */
  onEnd(flight: Flight, news: News): void
}

const KEEP_MILLISECONDS = 1000
const EXPIRED = ['session_expired', 'unauthorized']

export function createAnswering({ gateway, model, platform, session, store, onNews, onEnd }: AnsweringOptions): Answering {
  let flight: Flight | undefined
  let following: Following | undefined
  let keptAt = 0
  let streams = platform.streams // until the platform has shown that its streams are none

  function keep(): void {
    keptAt = platform.clock.now()
    if (flight) store.keepFlight(flight)
  }

  function start(next: Flight): void {
    if (following) following.close()
    following = undefined
    flight = next
    keep()
    void follow(next, true)
  }

  /** `mayRenew`: a session that the gateway refuses may be renewed. */
  async function follow(started: Flight, mayRenew: boolean): Promise<void> {
    const authorization = await session.authorization().catch((error: LoginError) => error)
    if (flight !== started) return // stopped, or another one was asked
    if (authorization instanceof Error) return finish(started, { text: started.answer.text || '', state: 'failed', code: authorization.code })
    const headers: Record<string, string> = authorization ? { Authorization: authorization } : {}
    // A client for each: closing an answer that is being stopped would leave the model at work.
    const client = createClient({ url: gateway, platform: { ...platform, streams }, headers })
    const hear = (update: Update) => {
      if (flight && flight.message === started.message) take(flight, update, mayRenew)
    }
    const { generation, answer, body, key } = started
    following = generation ? client.attach(generation, hear, answer) : client.ask(body, hear, { key })
  }

  function take(before: Flight, update: Update, mayRenew: boolean): void {
    const { status, end, generation, ...answer } = update
    const now = (flight = { ...before, generation, answer })
    if (status === 'polling') streams = false
    if (end && mayRenew && end.type === 'failed' && EXPIRED.includes(end.code || '')) {
      session.forget()
      void follow(now, false)
    } else if (end) finish(now, endOf(update))
    else {
      if (generation !== before.generation || platform.clock.now() - keptAt > KEEP_MILLISECONDS) keep()
      onNews(now, newsOf(update), status)
    }
  }

  function finish(ended: Flight, news: News): void {
    flight = undefined
    following = undefined
    // What only the line has lost goes on at the gateway, and can be taken up again.
    if (news.code === 'connection_lost') store.keepFlight(ended)
    else store.dropFlight(ended.conversation)
    onEnd(ended, news)
  }

  return {
    ask(conversation, message, messages) {
      const body = { messages, ...(model && { model }) }
      start({ conversation, message, body, key: randomId(), generation: '', answer: { after: '0' } })
    },
    resume: start,
    stop() {
      if (following) following.abort()
      else if (flight) finish(flight, { text: flight.answer.text || '', state: 'aborted' })
    },
    keep,
    flight: () => flight,
  }
}

export function newsOf({ text = '', reasoning, toolCalls = [], isRetracted }: Partial<Update>): News {
  const tools = toolCalls.map(({ name = '', arguments: given }) => ({ name, arguments: given }))
  return { text, ...(reasoning && { reasoning }), ...(tools.length && { tools }), ...(isRetracted && { isRetracted }) }
}

function endOf(update: Update): News {
  const { type: state = 'aborted', code, finish_reason: finish } = update.end || {}
  return { ...newsOf(update), state, ...(code && { code }), ...(finish && finish !== 'stop' && { finish }) }
}
