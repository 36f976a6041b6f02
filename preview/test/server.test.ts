/** The server: to whom it answers, and what it gives. */

import assert from 'node:assert/strict'
import { createServer, request, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import type { Program } from '../src/program.js'
import { serve } from '../src/server/server.js'
import type { FromServer, ToServer } from '../src/wire.js'

const FIXTURE = fileURLToPath(new URL('fixture', import.meta.url))
const BUNDLES = { '': '<p>frame</p>', program: '<p>program</p>', 'shell.js': '1' }

const server = await serve({ folders: [FIXTURE], gateway: 'http://127.0.0.1:1', wechat: '', port: 0, bundles: BUNDLES })
const { port } = server.address() as AddressInfo
const own = `127.0.0.1:${port}`

// A gateway of which a phone's headers can be seen.
const gateway = createServer((asked, response) => {
  response.writeHead(200, { 'content-type': 'text/plain', 'x-seen-referer': asked.headers.referer || '' })
  response.write('one')
  asked.on('data', (data) => response.end(data))
  asked.on('end', () => response.end())
})

before(() => new Promise<void>((resolve) => gateway.listen(0, '127.0.0.1', resolve)))
after(() => {
  server.closeAllConnections()
  server.close()
  gateway.closeAllConnections()
  gateway.close()
})

function get(path: string, headers: Record<string, string> = {}): Promise<{ status: number; type: string; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, headers: { host: own, ...headers } }, (response: IncomingMessage) => {
      let body = ''
      response.on('data', (data) => (body += data))
      response.on('end', () => resolve({ status: response.statusCode || 0, type: response.headers['content-type'] || '', body }))
    })
    sent.on('error', reject)
    sent.end()
  })
}

test('it serves the frame, the program, and what was built of it', async () => {
  assert.equal((await get('/?app=fixture')).body, '<p>frame</p>')
  assert.equal((await get('/program')).body, '<p>program</p>')
  const program = JSON.parse((await get('/program.json?app=fixture')).body) as Program
  assert.deepEqual([program.name, program.problems], ['fixture', []])
  assert.match((await get('/program.json?app=none')).body, /no mini program "none" here; there is: fixture/)
})

test('of a folder it gives the images inside it, and nothing beyond', async () => {
  assert.equal((await get('/files/fixture/images/dot.png')).type, 'image/png')
  for (const path of [
    '/files/fixture/..%2fbuild.test.ts',
    '/files/fixture/%2e%2e/%2e%2e/package.json',
    '/files/fixture/app.wxss',
    '/files/fixture/app.js',
    '/files/fixture/app.json',
    '/files/none/app.json',
  ]) {
    assert.notEqual((await get(path)).status, 200, path)
  }
})

test('it answers to its own name and its own page alone', async () => {
  assert.equal((await get('/session.json', { host: `evil.example:${port}` })).status, 403)
  assert.equal((await get('/session.json', { origin: 'https://evil.example' })).status, 403)
  assert.equal((await get('/session.json', { origin: `http://${own}` })).status, 200)
})

for (const origin of [undefined, 'https://evil.example']) {
  test(`nobody else gets a wire: ${origin || 'no origin'}`, async () => {
    const socket = new WebSocket(`ws://${own}/wire`, origin ? { origin } : {})
    await assert.rejects(new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject)))
  })
}

test('the wire carries a request as a phone sends it, and its answer byte by byte', async () => {
  const socket = new WebSocket(`ws://${own}/wire`, { origin: `http://${own}` })
  await new Promise((resolve) => socket.once('open', resolve))
  const told: FromServer[] = []
  let bytes = ''
  const ended = new Promise<void>((resolve) =>
    socket.on('message', (data: Buffer, isBinary) => {
      if (isBinary) return void (bytes += data.subarray(4).toString())
      const message = JSON.parse(data.toString()) as FromServer
      told.push(message)
      if (message.kind === 'end') resolve()
    }),
  )
  const url = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}/`
  const headers = { referer: 'https://servicewechat.com/wx0/0/page-frame.html', 'content-length': '3' }
  socket.send(
    JSON.stringify({ id: 7, kind: 'open', call: { url, method: 'POST', headers, body: btoa('two'), isBase64: true } } satisfies ToServer),
  )
  await ended
  assert.equal(bytes, 'onetwo')
  assert.deepEqual(
    told.map(({ id, kind }) => [id, kind]),
    [
      [7, 'head'],
      [7, 'end'],
    ],
  )
  assert.equal(told[0]?.kind === 'head' && told[0].head.headers['x-seen-referer'], headers.referer)
  socket.close()
})

test('a page that is slow gets everything, and the server holds a little of it at a time', async () => {
  const pieces = 200
  const piece = 'x'.repeat(65_536)
  let taken = 0
  const large = createServer((_, response) => {
    const write = () => {
      while (taken < pieces) {
        taken += 1
        if (!response.write(piece)) return void response.once('drain', write)
      }
      response.end()
    }
    write()
  })
  await new Promise<void>((resolve) => large.listen(0, '127.0.0.1', resolve))
  const socket = new WebSocket(`ws://${own}/wire`, { origin: `http://${own}` })
  await new Promise((resolve) => socket.once('open', resolve))
  let bytes = 0
  const ended = new Promise<void>((resolve) =>
    socket.on('message', (data: Buffer, isBinary) => {
      if (isBinary) bytes += data.length - 4
      else if ((JSON.parse(data.toString()) as FromServer).kind === 'end') resolve()
    }),
  )
  const call = { url: `http://127.0.0.1:${(large.address() as AddressInfo).port}/`, method: 'GET', headers: {}, body: '', isBase64: false }
  socket.pause()
  socket.send(JSON.stringify({ id: 1, kind: 'open', call } satisfies ToServer))
  await until(async () => {
    const before = taken
    await new Promise((resolve) => setTimeout(resolve, 100))
    return taken > 0 && taken === before
  })
  assert.ok(taken < pieces, `${taken} of ${pieces} pieces were taken by a server whose page takes none`)
  socket.resume()
  await ended
  assert.equal(bytes, pieces * piece.length)
  socket.close()
  large.close()
})

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) continue
}
