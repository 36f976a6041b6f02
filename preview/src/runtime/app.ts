/**
 * The program as a whole: `App`, `getApp`, and the moments that it is told of.
 *
 * Law: what the app throws in one of them is told, and the program goes on.
 */

import type { Definition } from './engine.js'

const EVENTS = ['Show', 'Hide', 'Error', 'UnhandledRejection', 'ThemeChange', 'PageNotFound'] as const
export type AppEvent = (typeof EVENTS)[number]
type Listener = (value: any) => void

export interface LaunchOptions {
  path: string
  query: Record<string, string>
  scene: number
  shareTicket: undefined
  referrerInfo: object
}

export interface Application {
  instance: Definition
  define(definition: Definition): void
  launch(options: LaunchOptions): void
  /** Tell the app, and who listens by `wx.onApp…`. */
  tell(event: AppEvent, value: unknown): void
  listen(event: AppEvent, listener: Listener): void
  unlisten(event: AppEvent, listener?: Listener): void
}

export function createApplication(onError: (error: unknown) => void): Application {
  const instance: Definition = {}
  const listeners = new Map<AppEvent, Set<Listener>>(EVENTS.map((event) => [event, new Set()]))

  function attempt(act: () => void): void {
    try {
      act()
    } catch (error) {
      onError(error)
    }
  }

  return {
    instance,
    define(definition) {
      Object.assign(instance, definition)
    },
    launch(options) {
      attempt(() => instance.onLaunch?.(options))
    },
    tell(event, value) {
      attempt(() => instance[`on${event}`]?.(value))
      for (const listener of [...(listeners.get(event) || [])]) attempt(() => listener(value))
    },
    listen: (event, listener) => void listeners.get(event)?.add(listener),
    unlisten(event, listener) {
      if (listener) listeners.get(event)?.delete(listener)
      else listeners.get(event)?.clear()
    },
  }
}
