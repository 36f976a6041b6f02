/** One page's exchanges: what comes over its WebSocket is sent as HTTP by Node, and what is answered goes back. */

import type { WebSocket } from 'ws'
import type { Exchange } from '../../../sdk/emulator/line.js'
import { nodeWire } from '../../../sdk/emulator/node.js'
import type { FromServer, ToServer } from '../wire.js'

// Of what a page has not taken yet: more waits at the gateway, as it does for a phone.
const MOST_UNSENT = 1024 * 1024
const MOST_EXCHANGES = 100

export function serveExchanges(socket: WebSocket): void {
  const exchanges = new Map<number, Exchange>()
  // Those that the page lets wait, and those that wait until what was sent to it has gone.
  const paused = new Set<number>()
  const unsent = new Set<number>()

  function tell(message: FromServer): void {
    socket.send(JSON.stringify(message))
  }

  function carry(id: number, bytes: Uint8Array): void {
    const message = Buffer.alloc(4 + bytes.length)
    message.writeUInt32BE(id)
    message.set(bytes, 4)
    socket.send(message, () => {
      if (unsent.delete(id) && !paused.has(id)) exchanges.get(id)?.resume()
    })
    if (socket.bufferedAmount <= MOST_UNSENT) return
    unsent.add(id)
    exchanges.get(id)?.pause()
  }

  function finish(message: FromServer): void {
    exchanges.delete(message.id)
    paused.delete(message.id)
    tell(message)
  }

  function open({ id, call: { isBase64, ...call } }: Extract<ToServer, { kind: 'open' }>): void {
    if (exchanges.size >= MOST_EXCHANGES) return tell({ id, kind: 'fail', reason: `more than ${MOST_EXCHANGES} requests at once` })
    const body = isBase64 ? Buffer.from(String(call.body), 'base64') : call.body
    try {
      exchanges.set(
        id,
        nodeWire(
          { ...call, body },
          {
            head: (head) => tell({ id, kind: 'head', head }),
            bytes: (bytes) => carry(id, bytes),
            end: (isComplete) => finish({ id, kind: 'end', isComplete }),
            fail: (reason) => finish({ id, kind: 'fail', reason }),
          },
        ),
      )
    } catch (error) {
      tell({ id, kind: 'fail', reason: String(error) }) // a URL or a header that HTTP cannot carry
    }
  }

  function act({ id, kind }: Exclude<ToServer, { kind: 'open' }>): void {
    const exchange = exchanges.get(id)
    if (!exchange) return
    if (kind === 'pause') paused.add(id)
    else paused.delete(id)
    if (kind === 'close') exchanges.delete(id)
    if (kind !== 'resume' || !unsent.has(id)) exchange[kind]()
  }

  socket.on('message', (data) => {
    const message = JSON.parse(String(data)) as ToServer // of our own page: the server has looked at its Origin
    if (message.kind === 'open') return open(message)
    act(message)
  })
  socket.on('close', () => {
    for (const exchange of exchanges.values()) exchange.close()
    exchanges.clear()
  })
}
