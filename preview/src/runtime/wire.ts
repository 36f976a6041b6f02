/**
 * The emulator's wire in a browser: each exchange runs over one WebSocket to the preview's server, which does the HTTP. So there
 * are no CORS, no six connections, and the headers are those that a phone sends.
 */

import type { Call, Exchange, Exchanged, Wire } from '../../../sdk/emulator/line.js'
import type { FromServer, ToServer } from '../wire.js'

export interface BrowserWire {
  wire: Wire
  /** Whether there is a network: without, exchanges break off, and new ones fail. */
  setOnline(isOnline: boolean): void
}

const OFFLINE = 'errcode:-106 cronet_error_code:-106 error_msg:net::ERR_INTERNET_DISCONNECTED'

/** @param route where a request to this URL is sent. */
export function createBrowserWire(address: string, route: (url: string) => string): BrowserWire {
  const socket = new WebSocket(address)
  const exchanges = new Map<number, Exchanged>()
  const waiting: string[] = []
  let isOnline = true
  let last = 0
  socket.binaryType = 'arraybuffer'

  function send(message: ToServer): void {
    const text = JSON.stringify(message)
    if (socket.readyState === WebSocket.OPEN) socket.send(text)
    else waiting.push(text)
  }

  function receive(data: ArrayBuffer | string): void {
    if (typeof data !== 'string') {
      const id = new DataView(data).getUint32(0)
      return exchanges.get(id)?.bytes(new Uint8Array(data, 4))
    }
    const message = JSON.parse(data) as FromServer
    const exchanged = exchanges.get(message.id)
    if (!exchanged) return
    if (message.kind === 'head') return exchanged.head(message.head)
    exchanges.delete(message.id)
    if (message.kind === 'end') exchanged.end(message.isComplete)
    else exchanged.fail(message.reason)
  }

  function breakAll(reason: string): void {
    for (const [id, exchanged] of [...exchanges]) {
      exchanges.delete(id)
      send({ id, kind: 'close' })
      exchanged.fail(reason)
    }
  }

  socket.onopen = () => waiting.splice(0).forEach((text) => socket.send(text))
  socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => receive(data)
  socket.onclose = () => breakAll("the preview's server is gone")

  return {
    wire(call: Call, exchanged: Exchanged): Exchange {
      const id = ++last
      exchanges.set(id, exchanged)
      if (isOnline) send({ id, kind: 'open', call: portable(call, route(call.url)) })
      else setTimeout(() => exchanges.delete(id) && exchanged.fail(OFFLINE))
      return {
        close() {
          if (exchanges.delete(id)) send({ id, kind: 'close' })
        },
        pause: () => send({ id, kind: 'pause' }),
        resume: () => send({ id, kind: 'resume' }),
      }
    },
    setOnline(value) {
      isOnline = value
      if (!value) breakAll(OFFLINE)
    },
  }
}

function portable(call: Call, url: string): Call & { isBase64: boolean } {
  if (typeof call.body === 'string') return { ...call, url, isBase64: false }
  return { ...call, url, body: btoa(Array.from(call.body, (byte) => String.fromCharCode(byte)).join('')), isBase64: true }
}
