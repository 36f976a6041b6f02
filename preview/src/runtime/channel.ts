/** What a page and the page that it opened say to each other, by events. */

export type Listener = (...values: any[]) => void // what a program has said

export interface End {
  on(name: string, listener: Listener): void
  off(name: string, listener?: Listener): void
  once(name: string, listener: Listener): void
  /** To who listens at the other end. */
  emit(name: string, ...values: unknown[]): void
}

export interface Channel {
  opener: End
  opened: End
}

export function createChannel(): Channel {
  const [one, other] = [new Map<string, Set<Listener>>(), new Map<string, Set<Listener>>()]
  return { opener: createEnd(one, other), opened: createEnd(other, one) }
}

function createEnd(own: Map<string, Set<Listener>>, other: Map<string, Set<Listener>>): End {
  const end: End = {
    on: (name, listener) => void own.set(name, (own.get(name) || new Set()).add(listener)),
    off: (name, listener) => void (listener ? own.get(name)?.delete(listener) : own.delete(name)),
    once(name, listener) {
      const wrapped: Listener = (...values) => (end.off(name, wrapped), listener(...values))
      end.on(name, wrapped)
    },
    emit: (name, ...values) => [...(other.get(name) || [])].forEach((listener) => listener(...values)),
  }
  return end
}
