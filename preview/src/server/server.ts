/**
 * The preview's server: the page, what was built of the folders, their files, and the wire.
 *
 * Laws: it listens on this machine alone and answers to its own name alone, for what it serves can reach whatever this machine
 * reaches; of a folder it gives only files inside it.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { readFile, realpath } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { basename, extname, join, resolve, sep } from 'node:path'
import { WebSocketServer } from 'ws'
import { buildProgram } from '../build/program.js'
import { openFolder } from '../build/folder.js'
import type { Session } from '../session.js'
import type { Bundles } from './bundles.js'
import { tellChanges } from './changes.js'
import { serveExchanges } from './exchanges.js'

export interface ServerOptions {
  /** Of mini programs. */
  folders: readonly string[]
  gateway: string
  /** Of a fake WeChat, which mints codes; '' for none. */
  wechat: string
  port: number
  bundles: Bundles
}

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
}
// What a program's pages may show; its code goes to nobody.
const IMAGES: Record<string, string> = {
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.gif': 'image/gif',
  '.svg': 'image/svg+xml',
  '.webp': 'image/webp',
}
const HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'content-security-policy': "frame-ancestors 'self'",
  'cross-origin-resource-policy': 'same-origin',
}
const MOST_BODY = 64 * 1024

interface Answer {
  status?: number
  type: string
  body: string | Uint8Array
}

/** Serve until it is closed; gives the server once it listens. */
export async function serve(options: ServerOptions): Promise<Server> {
  const folders = new Map(options.folders.map((folder) => [basename(resolve(folder)), resolve(folder)]))
  const session: Session = { apps: [...folders.keys()], gateway: options.gateway, hasWeChat: options.wechat !== '' }
  const server = createServer((request, response) => void answer(request, response))
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) => {
    if (request.url !== '/wire' || !isOurs(request, server, true)) return socket.destroy()
    sockets.handleUpgrade(request, socket, head, serveExchanges)
  })
  server.on('close', () => sockets.clients.forEach((client) => client.terminate()))

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let { status = 200, type, body }: Answer = { status: 403, type: 'text/plain', body: 'The preview is open to its own page alone.' }
    if (isOurs(request, server, false)) {
      try {
        const url = new URL(request.url || '/', 'http://preview')
        if (url.pathname === '/changes') return tellChanges(openFolder(folderOf(url.searchParams.get('app') || '')).root, request, response)
        ;({ status = 200, type, body } = await route(request))
      } catch (error) {
        ;({
          status = 500,
          type,
          body,
        } = { status: 500, type: 'text/plain; charset=utf-8', body: error instanceof Error ? error.message : String(error) })
      }
    }
    response.writeHead(status, { ...HEADERS, 'content-type': type }).end(body)
  }

  async function route(request: IncomingMessage): Promise<Answer> {
    const url = new URL(request.url || '/', 'http://preview')
    const [, first = '', ...rest] = url.pathname.split('/').map(decodeURIComponent)
    if (request.method === 'POST') return first === 'login' ? login(options.wechat, await read(request)) : missing(url.pathname)
    if (first === 'session.json') return json(session)
    if (first === 'program.json') return json(buildProgram(folderOf(url.searchParams.get('app') || '')))
    if (first === 'files') return file(folderOf(rest[0] || ''), rest.slice(1))
    const asset = options.bundles[first]
    return asset ? { type: TYPES[extname(first) || '.html'] || 'text/plain', body: asset } : missing(url.pathname)
  }

  function folderOf(name: string): string {
    const folder = folders.get(name)
    if (!folder) throw new Error(`There is no mini program ${JSON.stringify(name)} here; there is: ${session.apps.join(', ')}.`)
    return folder
  }

  await new Promise<void>((listening, fail) => server.once('error', fail).listen(options.port, '127.0.0.1', listening))
  return server
}

/** Whether it is for us by name (a foreign name may lead here), and from our own page where it says from where. */
function isOurs({ headers: { host = '', origin } }: IncomingMessage, server: Server, needsOrigin: boolean): boolean {
  const { port } = server.address() as AddressInfo
  const names = [`127.0.0.1:${port}`, `localhost:${port}`]
  return names.includes(host) && (origin === undefined ? !needsOrigin : names.some((name) => origin === `http://${name}`))
}

async function file(folder: string, path: string[]): Promise<Answer> {
  const { root } = openFolder(folder)
  const place = await realpath(join(root, ...path)).catch(() => '')
  const type = IMAGES[extname(place)]
  if (!place.startsWith(root + sep) || !type) return missing(path.join('/'))
  return { type, body: await readFile(place) }
}

async function login(wechat: string, body: string): Promise<Answer> {
  // Without a WeChat a code is but a word, and a gateway without one says so.
  if (!wechat) return json({ code: 'preview-code-of-nobody' })
  const response = await fetch(`${wechat}/dev/codes`, { method: 'POST', body })
  const { code } = (await response.json()) as { code?: string } // PROTOCOL: of `dazi dev wechat-fake`
  if (!code) throw new Error(`The fake WeChat at ${wechat} gives no code; it says ${response.status}.`)
  return json({ code })
}

async function read(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of request as AsyncIterable<Buffer>) {
    length += piece.length
    if (length > MOST_BODY) throw new Error(`A body is at most ${MOST_BODY} bytes here.`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString()
}

function json(value: unknown): Answer {
  return { type: 'application/json', body: JSON.stringify(value) }
}

function missing(path: string): Answer {
  return { status: 404, type: 'text/plain; charset=utf-8', body: `There is no ${path} here.` }
}
