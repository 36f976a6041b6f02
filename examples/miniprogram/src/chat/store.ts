/**
 * Conversations on this phone, and the answers that are on their way.
 *
 * Laws: nothing here throws: where the phone has no room left, old conversations make it; a conversation is written
 * when it is asked and when its answer has ended; in between only its flight is, which says how to go on after the
 * program was killed.
 */

import type { Progress } from 'dazi/client'
import type { Conversation } from './conversation'

/** As much of `wx` as is used. */
export interface Storage {
  getStorageSync(key: string): unknown
  setStorageSync(key: string, value: unknown): void
  removeStorageSync(key: string): void
}

export interface Summary {
  id: string
  title: string
  changed: number
}

/** An answer on its way, as the SDK needs it to go on. */
export interface Flight {
  conversation: string
  message: string
  /** What was asked, and under which idempotency key: while the generation is unknown it is asked again. */
  body: object
  key: string
  generation: string
  /** How far it has come. */
  answer: Progress
}

export interface Store {
  /** The latest first. */
  list(): Summary[]
  read(id: string): Conversation | undefined
  write(conversation: Conversation): void
  remove(id: string): void
  /** Forget everything. */
  clear(): void
  /** The conversation that was on the screen last; "" for none. */
  current(): string
  setCurrent(id: string): void
  flight(conversation: string): Flight | undefined
  keepFlight(flight: Flight): void
  dropFlight(conversation: string): void
}

const INDEX = 'dazi:conversations'
const CURRENT = 'dazi:current'

// The platform gives 10 MB in all, and 1 MB a key.
const MOST_CONVERSATIONS = 100
const MOST_CHARACTERS = 300_000

export function createStore(storage: Storage): Store {
  function list(): Summary[] {
    const kept = storage.getStorageSync(INDEX)
    return Array.isArray(kept) ? kept : []
  }

  /** Whether there was room. */
  function put(key: string, value: unknown): boolean {
    try {
      storage.setStorageSync(key, value)
      return true
    } catch {
      return false
    }
  }

  /** Older conversations go, one by one, until there is room; `id` stays. */
  function putAtAnyCost(key: string, value: unknown, id: string): void {
    while (!put(key, value)) {
      const oldest = list().filter((summary) => summary.id !== id).pop()
      if (!oldest) return
      remove(oldest.id)
    }
  }

  function remove(id: string): void {
    storage.removeStorageSync(keyOf(id))
    storage.removeStorageSync(flightOf(id))
    put(INDEX, list().filter((summary) => summary.id !== id))
  }

  return {
    list,
    // The casts: only this file writes these keys.
    read: (id) => (storage.getStorageSync(keyOf(id)) as Conversation) || undefined,
    write(conversation) {
      const { id, title, changed } = conversation
      putAtAnyCost(keyOf(id), shortened(conversation), id)
      const index = [{ id, title, changed }, ...list().filter((summary) => summary.id !== id)]
      const old = index.splice(MOST_CONVERSATIONS)
      putAtAnyCost(INDEX, index, id)
      for (const summary of old) remove(summary.id)
    },
    remove,
    clear() {
      for (const { id } of list()) remove(id)
      storage.removeStorageSync(CURRENT)
    },
    current: () => String(storage.getStorageSync(CURRENT) || ''),
    setCurrent: (id) => void put(CURRENT, id),
    flight: (conversation) => (storage.getStorageSync(flightOf(conversation)) as Flight) || undefined,
    keepFlight: (flight) => putAtAnyCost(flightOf(flight.conversation), flight, flight.conversation),
    dropFlight: (conversation) => storage.removeStorageSync(flightOf(conversation)),
  }
}

function keyOf(id: string): string {
  return `dazi:conversation:${id}`
}

function flightOf(id: string): string {
  return `dazi:flight:${id}`
}

/** As much of its end as one key can hold. */
function shortened(conversation: Conversation): Conversation {
  const messages = conversation.messages.slice()
  let length = messages.reduce((sum, { text, reasoning = '' }) => sum + text.length + reasoning.length, 0)
  while (length > MOST_CHARACTERS && messages.length > 2) {
    const [{ text, reasoning = '' }] = messages.splice(0, 1)
    length -= text.length + reasoning.length
  }
  return messages.length === conversation.messages.length ? conversation : { ...conversation, messages }
}
