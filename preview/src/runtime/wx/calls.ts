/** The manner of `wx`: callbacks, or a promise where none is given. */

export interface Callbacks {
  success?(result: any): void
  fail?(error: any): void
  complete?(result: any): void
}

/**
 * Make an asynchronous function of `wx`. What `act` gives, or its promise, is the result; what it throws is the failure, whose
 * message is told as WeChat's are.
 */
export function call<Option extends object>(
  name: string,
  act: (option: Option) => unknown,
): (option?: Option & Callbacks) => Promise<unknown> | undefined {
  return (option = {} as Option & Callbacks) => {
    const { success, fail, complete } = option
    const run = async () => {
      try {
        return { ...((await act(option)) as object | undefined), errMsg: `${name}:ok` }
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        throw { errMsg: message.startsWith(`${name}:fail`) ? message : `${name}:fail ${message}` }
      }
    }
    if (!success && !fail && !complete) return run()
    void run().then(
      (result) => later(() => (success?.(result), complete?.(result))),
      (error) => later(() => (fail?.(error), complete?.(error))),
    )
    return undefined
  }
}

/** Out of the promise, so that what a callback throws is an error of the program, and no rejection. */
function later(callback: () => void): void {
  setTimeout(callback)
}

export interface Listeners<T> {
  on(listener: (value: T) => void): void
  off(listener?: (value: T) => void): void
  tell(value: T): void
}

export function createListeners<T>(): Listeners<T> {
  const listeners = new Set<(value: T) => void>()
  return {
    on: (listener) => void listeners.add(listener),
    off: (listener) => (listener ? void listeners.delete(listener) : listeners.clear()),
    tell(value) {
      for (const listener of [...listeners]) listener(value)
    },
  }
}
