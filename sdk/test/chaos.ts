/** A platform over a good one, on which everything goes wrong that can, by a seeded chance. */

import type { Platform } from '../src/platform.js'
import { randomNumbers } from './suites/sse.js'

export interface Chaos {
  platform: Platform
  /** How often each thing went wrong. */
  counts: Record<'cut' | 'dropped' | 'refused' | 'hidden' | 'repeated', number>
}

export interface Faults {
  /** Chances of 1: that a chunk is the last before the line breaks; that a request never arrives; and so on. */
  drop: number
  refuse: number
  hide: number
  /** No chunks: all comes at the end, as on PCs. */
  late: boolean
  streams: boolean
}

export function createChaos(under: Platform, seed: number, faults: Faults): Chaos {
  const random = randomNumbers(seed)
  const counts = { cut: 0, dropped: 0, refused: 0, hidden: 0, repeated: 0 }
  let tell: (visible: boolean) => void = () => {}

  function hideForAWhile(): void {
    counts.hidden++
    tell(false)
    under.clock.later(() => tell(true), 30 + random() * 100)
  }

  const platform: Platform = {
    streams: faults.streams,
    clock: under.clock,
    watchVisibility(listener) {
      tell = listener
      return () => (tell = () => {})
    },
    send(request, reception) {
      let isOpen = true
      const held: Uint8Array[] = []
      let cancel = () => {}
      const close = () => {
        const wasOpen = isOpen
        isOpen = false
        return wasOpen
      }
      const fail = () => {
        if (!close()) return
        cancel()
        reception.fail('request:fail')
      }
      if (random() < faults.refuse) {
        counts.refused++
        under.clock.later(fail, 1)
        return () => void close()
      }
      cancel = under.send(request, {
        chunk(chunk) {
          if (typeof chunk === 'string' || !ArrayBuffer.isView(chunk)) throw new Error('bytes were expected')
          const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
          if (faults.late) held.push(bytes)
          else pieces(bytes)
        },
        end: (status, body) => isOpen && close() && reception.end(status, held.length ? Buffer.concat(held).toString() : body),
        fail: (reason) => isOpen && close() && reception.fail(reason),
      })

      function pieces(bytes: Uint8Array): void {
        for (let at = 0; at < bytes.length && isOpen; ) {
          const size = 1 + Math.floor(random() * (random() < 0.3 ? 3 : 200))
          counts.cut++
          reception.chunk(bytes.slice(at, (at += size)))
          if (random() < faults.hide && isOpen) hideForAWhile()
          if (random() < faults.drop && isOpen) {
            counts.dropped++
            fail()
          }
        }
      }

      return () => {
        if (close()) cancel()
      }
    },
  }
  return { platform, counts }
}
