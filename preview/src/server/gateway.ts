/** A gateway, and a WeChat for its log-in, that live as long as the preview. */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

export interface Started {
  gateway: string
  /** '' where there is no log-in. */
  wechat: string
  stop(): void
}

// The embedded model is read before the gateway listens.
const PATIENCE_MILLISECONDS = 60_000

// Where none of these names a model, `demo` answers: the embedded model speaks English only, and most mini programs Chinese.
const NAMES_OF_MODELS = ['DAZI_MODEL', 'DAZI_UPSTREAM', 'DAZI_UPSTREAMS', 'OPENAI_BASE_URL', 'OPENAI_MODEL']

/**
 * @param dazi the program.
 * @param hasLogin whether users log in, as they do in production; without, the gateway asks nobody who he is.
 */
export async function startGateway(dazi: string, hasLogin: boolean): Promise<Started> {
  const children: ChildProcess[] = []
  const stop = () => children.forEach((child) => child.kill())
  process.once('exit', stop)

  async function run(
    args: string[],
    environment: Record<string, string>,
    from: 'stdout' | 'stderr',
  ): Promise<{ url: string; lines: string[] }> {
    const model = NAMES_OF_MODELS.some((name) => process.env[name]) ? {} : { DAZI_MODEL: 'demo' }
    const child = spawn(dazi, args, { env: { ...process.env, ...model, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] })
    children.push(child)
    return await addressOf(child, child[from] as Readable) // it is piped
  }

  if (!hasLogin) return { gateway: (await run(['serve', '--port', '0'], {}, 'stderr')).url, wechat: '', stop }
  const wechat = await run(['dev', 'wechat-fake', '--port', String(await freePort())], {}, 'stdout')
  const told = wechat.lines.join(' ').matchAll(/\b(DAZI_\w+)=(\S+)/g)
  const environment = Object.fromEntries([...told].map(([, name = '', value = '']) => [name, value]))
  const gateway = await run(['serve', '--port', '0'], { ...environment, DAZI_SESSION_SECRETS: randomBytes(32).toString('hex') }, 'stderr')
  return { gateway: gateway.url, wechat: wechat.url, stop }
}

/** What it says until its address is in it, and the line after that. */
function addressOf(child: ChildProcess, output: Readable): Promise<{ url: string; lines: string[] }> {
  const lines: string[] = []
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`${child.spawnargs.slice(0, 3).join(' ')} ${why}:\n${lines.join('\n')}`))
    const timer = setTimeout(() => fail('does not say where it listens'), PATIENCE_MILLISECONDS)
    child.once('error', (error) => fail(String(error)))
    child.once('exit', (status) => fail(`ended with status ${status}`))
    // What else it has to say is for the terminal.
    const other = output === child.stdout ? child.stderr : child.stdout
    other?.on('data', (data) => process.stderr.write(data))
    createInterface({ input: output }).on('line', (line) => {
      lines.push(line)
      if (lines.length > 100) return void process.stderr.write(`${line}\n`)
      const url = /http:\/\/127\.0\.0\.1:\d+/.exec(lines.slice(0, -1).join('\n') || '')?.[0]
      if (!url) return
      clearTimeout(timer)
      resolve({ url, lines: [...lines] })
    })
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => resolve(port))
    })
  })
}
