/** The real Python gateway, with the demo model, fast, on a port of its own. */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'

const python = new URL('../../.venv/bin/python', import.meta.url).pathname

export const hasGateway = existsSync(python)

export interface Gateway {
  url: string
  stop(): Promise<void>
}

/** Start one of the programs beside this file; `options` are what it takes after its port. */
export async function startGateway(program = 'gateway.py', options: string[] = []): Promise<Gateway> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  // The tests' own variables are none of the gateway's settings, and it says so.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('DAZI_')))
  const server = spawn(python, [new URL(program, import.meta.url).pathname, String(port), ...options], { env, stdio: ['ignore', 'ignore', 'inherit'] })
  const exited = new Promise<void>((resolve) => server.once('exit', () => resolve()))
  await until(async () => (await fetch(`${url}/health/ready`)).ok)
  return {
    url,
    async stop() {
      server.kill('SIGKILL')
      await exited
    },
  }
}

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const address = probe.address()
  await new Promise((resolve) => probe.close(resolve))
  if (!address || typeof address === 'string') throw new Error('no port')
  return address.port
}

const PATIENCE = 60_000

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const start = Date.now(); ; ) {
    const isMet = await condition().catch(() => false)
    if (isMet) return
    if (Date.now() - start > PATIENCE) throw new Error('The gateway did not start.')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
