/** The truths in ../../vectors, which Python's tests read too. */

import { readdirSync, readFileSync } from 'node:fs'

const folder = new URL('../../vectors/', import.meta.url)

/** Text with its repetitions folded: a string, `{repeat, times}`, or a list of these. */
type Folded = string | { repeat: string; times: number } | Folded[]

type Content = { text: Folded } | { base64: string }

export type SseVector = (Content | { bodies: Content[] }) & {
  name: string
  events: { event: string; data: Folded; id: Folded }[]
  retry: number | null
  last_event_id: Folded
}

export function sseVectors(): SseVector[] {
  const files = readdirSync(new URL('sse/', folder)).filter((file) => file.endsWith('.json'))
  return files.flatMap((file) => JSON.parse(readFileSync(new URL(`sse/${file}`, folder), 'utf8')))
}

export function bodiesOf(vector: SseVector): Buffer[] {
  return ('bodies' in vector ? vector.bodies : [vector]).map((body) =>
    'text' in body ? Buffer.from(unfold(body.text)) : Buffer.from(body.base64, 'base64'),
  )
}

export function unfold(text: Folded): string {
  if (typeof text === 'string') return text
  return Array.isArray(text) ? text.map(unfold).join('') : text.repeat.repeat(text.times)
}
