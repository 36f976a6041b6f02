/** `window.preview`: what the frame around the program, and tests, may see of it and do with it. */

import type { Problem } from '../build/problems.js'
import type { Bar } from './bar.js'
import type { SetDataCounts } from './counters.js'
import type { NetworkEntry } from './network.js'
import type { Theme } from './wx/system.js'

export interface NoteEntry {
  /** Milliseconds from the program's launch on. */
  at: number
  /** `toast`, `modal`, `clipboard`, `error`, `console`, … */
  kind: string
  value: unknown
}

export interface Preview {
  /** Resolves once the first page has been shown; rejects if the program cannot be run. */
  ready: Promise<void>
  problems: readonly Problem[]
  /** Bytes of the folder's files, as they would be uploaded. */
  bytes: number
  setData: { counts(): SetDataCounts; reset(): void }
  network: readonly NetworkEntry[]
  /** What was shown to the person, and what went wrong, in order. */
  notes: readonly NoteEntry[]
  /** Messages of what the program threw, of its rejected promises, and of what the engine complained of. */
  errors: readonly string[]
  /** Names of `wx` that the program looked for, and that are not here. */
  missing: readonly string[]
  bar(): Bar
  /** The routes of the pages that are open. */
  routes(): string[]
  /** What `getApp()` gives, and the top page's `this`: live. */
  app(): Record<string, unknown>
  page(): Record<string, unknown> | undefined
  /** A copy of the top page's data. */
  data(): Record<string, unknown>
  /** The program goes to the background; with a time, it comes back after so many milliseconds, and the promise is kept then. */
  background(milliseconds?: number): Promise<void>
  foreground(): void
  isVisible(): boolean
  offline(): void
  online(): void
  theme(name?: Theme): Theme
  /** The keyboard comes up so high (CSS pixels), or goes at 0. */
  keyboard(height: number): void
  back(): void
  /** As a person does by tapping a tab; the page's `onTabItemTap` is called. */
  tab(path: string): void
  /** How often what has happened on the emulated network. */
  counts(): Record<string, number>
  /** Wait until no request is under way and `setData` was quiet for `quiet` milliseconds. */
  idle(quiet?: number, timeout?: number): Promise<void>
  /** Wait until the top page's text holds this. */
  text(part: string, timeout?: number): Promise<void>
  /** Be told whenever something here has changed; answers how to stop. */
  watch(listener: () => void): () => void
}

declare global {
  interface Window {
    /** A promise until the program has been built; rejected if it cannot be. */
    preview: Promise<Preview> | Preview
  }
}
