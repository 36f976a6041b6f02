/** The wire of Node: real HTTP, a connection a request, since which of them breaks is not the chance of a pool. */

import { Agent as HttpAgent, request as httpRequest, type ClientRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Call, Exchange, Exchanged } from './line.js'

const AGENTS = { 'http:': new HttpAgent({ keepAlive: false }), 'https:': new HttpsAgent({ keepAlive: false }) }

export function nodeWire(call: Call, exchanged: Exchanged): Exchange {
  let isOpen = true
  let hasHead = false
  let resume = () => {}
  let pause = () => {}
  const sent = requestOf(call)
  sent.on('response', (response) => {
    if (!isOpen) return
    hasHead = true
    // An error of a response is one of its connection, which is told below by 'close'.
    response.on('error', () => {})
    pause = () => void response.pause()
    resume = () => void response.resume()
    exchanged.head({ statusCode: response.statusCode || 0, headers: response.headers })
    response.on('data', (bytes: Uint8Array) => isOpen && exchanged.bytes(bytes))
    response.on('close', () => isOpen && exchanged.end(response.complete))
  })
  sent.on('error', (error) => isOpen && !hasHead && exchanged.fail(error.message))
  sent.end(call.body)
  return {
    close() {
      isOpen = false
      sent.destroy()
    },
    pause: () => pause(),
    resume: () => resume(),
  }
}

function requestOf({ url, method, headers }: Call): ClientRequest {
  const isSecure = url.startsWith('https:')
  return (isSecure ? httpsRequest : httpRequest)(url, { method, headers, agent: AGENTS[isSecure ? 'https:' : 'http:'] })
}
