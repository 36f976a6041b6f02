/** `preview [FOLDER…] [options]`: serve the preview of mini programs. `--help` says what there is. */

import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { bundle } from './bundles.js'
import { startGateway } from './gateway.js'
import { serve } from './server.js'

const USAGE = `usage: preview FOLDER… [--gateway URL] [--wechat URL] [--dazi PROGRAM] [--no-login] [--port N]

  FOLDER     of a mini program: the one with app.json, or with a project.config.json that names it
  --gateway  where all requests go, whichever host the program names
  --wechat   of a fake WeChat (dazi dev wechat-fake), for wx.login
  --dazi     the program \`dazi\`: without --gateway one is started, with a fake WeChat for the log-in
  --no-login it is started without
  --port     8100 if nothing is said; 0 takes a free one`

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    gateway: { type: 'string', default: '' },
    wechat: { type: 'string', default: '' },
    dazi: { type: 'string', default: '' },
    'no-login': { type: 'boolean', default: false },
    port: { type: 'string', default: '8100' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help || !positionals.length) {
  console.error(USAGE)
  process.exit(values.help ? 0 : 2)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(0))
try {
  await main()
} catch (error) {
  const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
  const remedy = isTaken ? '. Choose another port: --port N, or PORT=N make preview.' : ''
  console.error(`preview: ${error instanceof Error ? error.message : String(error)}${remedy}`)
  process.exit(1)
}

async function main(): Promise<void> {
  const startsOne = values.dazi !== '' && values.gateway === ''
  const [bundles, { gateway, wechat }] = await Promise.all([bundle(), startsOne ? startGateway(values.dazi, !values['no-login']) : values])
  const server = await serve({ folders: positionals, gateway, wechat, port: Number(values.port), bundles })
  const { port } = server.address() as AddressInfo
  console.log(`preview: http://127.0.0.1:${port}/`)
  if (startsOne) console.log(`gateway: ${gateway}`)
  console.log('Ctrl-C to stop')
}
