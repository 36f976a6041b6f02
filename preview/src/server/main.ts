/** `preview [FOLDER…] [--gateway URL] [--wechat URL] [--port N]`: serve the preview of mini programs. */

import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { bundle } from './bundles.js'
import { serve } from './server.js'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { gateway: { type: 'string', default: '' }, wechat: { type: 'string', default: '' }, port: { type: 'string', default: '8100' } },
})
if (!positionals.length) {
  console.error('preview: name the folder of a mini program, the one that has app.json in it.')
  process.exit(2)
}

const server = await serve({ folders: positionals, ...values, port: Number(values.port), bundles: await bundle() })
console.log(`preview: http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(0))
