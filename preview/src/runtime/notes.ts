/** What happened that is worth knowing, kept for the frame's log and for tests. */

import type { NoteEntry } from './preview.js'

export interface Notes {
  entries: readonly NoteEntry[]
  errors: readonly string[]
  note(kind: string, value: unknown): void
  fail(error: unknown): void
  /** Be told whenever something has changed. */
  watch(listener: () => void): () => void
  changed(): void
}

const MOST_ENTRIES = 1000

export function createNotes(): Notes {
  const entries: NoteEntry[] = []
  const errors: string[] = []
  const listeners = new Set<() => void>()
  const begin = performance.now()
  let isTelling = false

  // Many changes of one moment are told once.
  function changed(): void {
    if (isTelling) return
    isTelling = true
    queueMicrotask(() => {
      isTelling = false
      for (const listener of [...listeners]) listener()
    })
  }

  function note(kind: string, value: unknown): void {
    entries.push({ at: performance.now() - begin, kind, value })
    if (entries.length > MOST_ENTRIES) entries.shift()
    changed()
  }

  return {
    entries,
    errors,
    note,
    changed,
    fail(error) {
      const message = textOf(error)
      errors.push(message)
      if (errors.length > MOST_ENTRIES) errors.shift()
      note('error', message)
      console.error(error)
    },
    watch(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

/** A program may throw anything, and `wx` fails with objects of its own. */
function textOf(error: unknown): string {
  if (error instanceof Error) return error.stack || error.message
  return typeof error === 'object' && error ? String((error as { errMsg?: string }).errMsg || JSON.stringify(error)) : String(error)
}
