/**
 * What the program hands from its logic to its pages, counted as the platform does: `setData`'s calls, and their bytes of JSON.
 *
 * Law: what is handed over goes through JSON, as it does between the two threads of a phone.
 */

import { component } from 'glass-easel-miniprogram-adapter'

export interface SetDataCounts {
  calls: number
  /** Of the JSON, in UTF-8. */
  bytes: number
  largest: number
  /** The most calls within one second, anywhere. */
  perSecond: number
  /** Fields that were set to `undefined`, which the platform refuses. */
  undefinedFields: string[]
}

export interface SetDataCounter {
  counts(): SetDataCounts
  reset(): void
  /** Milliseconds since the last call. */
  quiet(): number
}

const MOST_UNDEFINED = 100

export function countSetData(onCall: () => void): SetDataCounter {
  const prototype = component.ComponentCaller.prototype
  const original = prototype.setData
  const encoder = new TextEncoder()
  let counts: SetDataCounts
  let last = performance.now()
  let lately: number[] // the times of the calls within the last second

  function reset(): void {
    counts = { calls: 0, bytes: 0, largest: 0, perSecond: 0, undefinedFields: [] }
    lately = []
  }

  function count(json: string): void {
    const bytes = encoder.encode(json).length
    const now = performance.now()
    lately = [...lately.filter((time) => time > now - 1000), now]
    counts.calls += 1
    counts.bytes += bytes
    counts.largest = Math.max(counts.largest, bytes)
    counts.perSecond = Math.max(counts.perSecond, lately.length)
    last = now
    onCall()
  }

  prototype.setData = function (this: { is: string }, data: Record<string, unknown>, callback?: () => void) {
    const json = JSON.stringify(data) || '{}'
    count(json)
    for (const [field, value] of Object.entries(data)) {
      if (value === undefined && counts.undefinedFields.length < MOST_UNDEFINED) counts.undefinedFields.push(`${this.is}: ${field}`)
    }
    return (original as (data: object, callback?: () => void) => void).call(this, JSON.parse(json) as object, callback)
  }

  reset()
  return { counts: () => ({ ...counts }), reset, quiet: () => performance.now() - last }
}
