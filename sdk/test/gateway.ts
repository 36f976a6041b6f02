/** The real Python gateway, with the demo model, fast, on a port of its own. */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

const python = new URL('../../.venv/bin/python', import.meta.url).pathname

export interface Gateway {
  url: string
  stop(): Promise<void>
}

/** Start one of the programs beside this file, which print their port; `options` are what they take. */
export async function startGateway(program = 'gateway.py', options: string[] = []): Promise<Gateway> {
  if (!existsSync(python)) throw new Error('There is no .venv for the gateway; run `sh scripts/setup test` beside sdk/.')
  // The tests' own variables are none of the gateway's settings, and it says so.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('DAZI_')))
  const file = new URL(program, import.meta.url).pathname
  const server = spawn(python, [file, ...options], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = new Promise<void>((resolve) => server.once('exit', () => resolve()))
  const port = await Promise.race([firstLineOf(server.stdout), exited])
  if (!port) throw new Error('The gateway did not start.')
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      server.kill('SIGKILL')
      await exited
    },
  }
}

async function firstLineOf(output: Readable): Promise<string> {
  for await (const line of createInterface(output)) return line
  return ''
}
