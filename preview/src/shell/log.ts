/** The log: each request with its chunks and bytes as the program saw them, what was shown, what went wrong, and setData. */

import type { ChunkEntry, NetworkEntry } from '../runtime/network.js'
import type { Preview } from '../runtime/preview.js'
import { element } from './dom.js'
import { word } from './words.js'

// Of what is drawn; what is kept is in `preview.network`.
const MOST_CHUNKS = 200
// Of the HTTP statuses.
const FIRST_ERROR = 400

export function createLog(preview: Preview): HTMLElement {
  const counters = element('div', { className: 'counters' })
  const requests = element('div', { className: 'requests' })
  const events = element('div', { className: 'events' })
  const open = new Set<number>()
  let isWaiting = false

  function draw(): void {
    isWaiting = false
    const { calls, bytes, perSecond } = preview.setData.counts()
    const missing = preview.missing.length ? ` · ${word('missing')}: ${preview.missing.join(', ')}` : ''
    counters.textContent = `${word('calls')} ${calls} · ${bytes} ${word('bytes')} · ${word('most')} ${perSecond} · ${word('built')} ${Math.ceil(preview.bytes / 1024)} KB${missing}`
    requests.replaceChildren(element('h2', {}, word('requests')), ...[...preview.network].reverse().map((entry) => request(entry, open)))
    const notes = [...preview.notes]
      .reverse()
      .map(({ at, kind, value }) =>
        element('div', { className: `note ${kind}` }, `${seconds(at)} ${kind} `, typeof value === 'string' ? value : JSON.stringify(value)),
      )
    if (!notes.length) notes.push(element('div', { className: 'note' }, word('nothing')))
    events.replaceChildren(element('h2', {}, word('events')), ...notes)
  }

  preview.watch(() => {
    if (isWaiting) return
    isWaiting = true
    requestAnimationFrame(draw)
  })
  draw()
  return element('div', { className: 'log' }, counters, requests, events)
}

function request(entry: NetworkEntry, open: Set<number>): HTMLElement {
  const { id, method, url, sentTo, statusCode, bytes, chunkCount, end, at, endedAt, wasAborted } = entry
  const time = endedAt === undefined ? '…' : `${seconds(endedAt - at)}`
  const told = [
    statusCode || '',
    `${chunkCount} ${word('chunks')}`,
    `${bytes} ${word('bytes')}`,
    time,
    wasAborted ? 'abort()' : '',
    end && end !== 'request:ok' ? end : '',
  ]
  const details = element(
    'details',
    { open: open.has(id), className: stateOf(entry) },
    element('summary', {}, `${method} ${new URL(url).pathname} `, element('small', {}, told.filter(Boolean).join(' · '))),
  )
  const fill = () => details.append(element('p', {}, url === sentTo ? url : `${url} → ${sentTo}`), chunks(entry.chunks))
  if (details.open) fill()
  details.ontoggle = () => {
    if (details.open && details.childElementCount === 1) fill()
    if (details.open) open.add(id)
    else open.delete(id)
  }
  return details
}

function stateOf({ end, wasAborted, statusCode = 0 }: NetworkEntry): string {
  if (!end) return 'running'
  return (end === 'request:ok' && statusCode < FIRST_ERROR) || wasAborted ? 'ended' : 'failed'
}

function chunks(entries: readonly ChunkEntry[]): HTMLElement {
  const rows = entries
    .slice(-MOST_CHUNKS)
    .map(({ at, length, head }) =>
      element(
        'tr',
        {},
        element('td', {}, seconds(at)),
        element('td', {}, String(length)),
        element('td', {}, element('code', {}, textOf(head))),
        element('td', {}, element('code', {}, head)),
      ),
    )
  return element('table', {}, ...rows)
}

/** A chunk may begin and end inside a character: what cannot be read is shown as �. */
function textOf(head: string): string {
  const bytes = Uint8Array.from(head.match(/../g) || [], (digits) => parseInt(digits, 16))
  return new TextDecoder().decode(bytes).replace(/\n/g, '⏎')
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`
}
