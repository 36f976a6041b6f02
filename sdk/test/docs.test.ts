/** The code of the documents: TypeScript is what the compiler accepts, strictly; JavaScript runs; both languages have the same. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { build, type BuildFailure } from 'esbuild'
import { createEmulator, type EmulatorOptions } from '../emulator/index.js'
import { startGateway, type Gateway } from './gateway.js'

const root = new URL('..', import.meta.url).pathname
const docs = join(root, '../docs')
const compiler = createRequire(import.meta.url).resolve('typescript/package.json').replace('package.json', 'bin/tsc')

const HOSTS = `
declare const uni: import('dazi/platform/uni').Uni
declare module '@tarojs/taro' {
  const Taro: import('dazi/platform/taro').Taro
  export default Taro
}
`

let folder: string
let gateway: Gateway

before(async () => {
  folder = mkdtempSync(join(root, 'node_modules/.docs-'))
  gateway = await startGateway()
})

after(async () => {
  rmSync(folder, { recursive: true })
  await gateway.stop()
})

function blocksOf(name: string, language: string): string[] {
  return [...readFileSync(join(docs, name), 'utf8').matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(([, block]) => block)
}

const withoutComments = (code: string) => code.replace(/(^|\s)\/\/ .*$/gm, '')

/** The documents of docs/, and those elsewhere that have code; what runs of it besides is told in tests/test_document_code.py. */
const pages = readdirSync(docs).filter((name) => name.endsWith('.md') && !name.includes('zh-CN'))

test('the code of the documents is the same in both languages', () => {
  for (const page of pages) for (const language of ['ts', 'js']) {
    const [english, chinese] = [page, page.replace('.md', '.zh-CN.md')].map((name) => blocksOf(name, language).map(withoutComments))
    assert.deepEqual(chinese, english, page)
  }
})

test('the TypeScript of the documents compiles', () => {
  const blocks = pages.flatMap((page) => blocksOf(page, 'ts'))
  assert.ok(blocks.length >= 6)
  try {
    blocks.forEach((block, index) => writeFileSync(join(folder, `block${index}.ts`), block))
    writeFileSync(join(folder, 'hosts.d.ts'), HOSTS)
    const compilerOptions = {
      strict: true, target: 'ES2018', lib: ['ES2018'], types: [], noEmit: true, module: 'ESNext', moduleResolution: 'bundler',
      paths: { dazi: [`${root}src/index.ts`], 'dazi/*': [`${root}src/*.ts`] },
    }
    const include = ['*.ts', `${root}node_modules/miniprogram-api-typings/index.d.ts`]
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include, exclude: [] }))
    execFileSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' })
  } catch (error) {
    // What the compiler says is in its output; the cast is for that.
    assert.fail((error as { stdout?: string }).stdout || String(error))
  }
})

test('the JavaScript of the documents imports what there is', async () => {
  for (const page of [...pages, '../README.md', '../sdk/README.md', '../sdk/README.zh-CN.md', '../sdk/emulator/README.md']) {
    for (const contents of blocksOf(page, 'js')) {
      const alias = { 'dazi/emulator': `${root}emulator/index.ts`, dazi: `${root}src` }
      const { errors } = await build({ stdin: { contents, resolveDir: root }, alias, bundle: true, write: false, platform: 'node', format: 'esm', logLevel: 'silent' })
        .catch((problem: BuildFailure) => problem)
      assert.deepEqual(errors.map(({ text }) => text), [], `${page}: ${contents}`)
    }
  }
})

type Show = (text: string | null, status: string) => void
type Program = (wx: unknown, url: string) => (question: string, show: Show) => void

/** Import a block that defines `ask`, as a program that knows `wx` and `GATEWAY` would hold it. */
async function programOf(block: string, name: string): Promise<Program> {
  const imports = [...block.matchAll(/^import .*$/gm)].map(([line]) => line.replace(/'dazi\/(.*)'/, `'${root}src/$1.ts'`))
  const body = block.replace(/^import .*$/gm, '')
  const file = join(folder, `${name}.mjs`)
  writeFileSync(file, `${imports.join('\n')}\nexport default (wx, GATEWAY) => {\n${body}\nreturn ask\n}\n`)
  return (await import(file)).default
}

const PHONES: EmulatorOptions[] = [
  { profile: 'ios', seed: 1, link: { cut: 'random' } },
  { profile: 'android', seed: 2, link: { cut: 'bytes' } },
  { profile: 'devtools', seed: 3, link: { cut: 'glued' } },
]

/** Ask, and take down every text that is shown, to the end. */
async function shownBy(program: Program, question: string, options: EmulatorOptions): Promise<string[]> {
  const phone = createEmulator({ ...options, timeScale: 20 })
  const shown: string[] = []
  await new Promise<void>((resolve) => {
    program(phone.wx, gateway.url)(question, (text, status) => {
      if (text !== null) shown.push(text)
      if (status !== 'running') resolve()
    })
  })
  phone.close()
  return shown
}

test('the ways to come from something else get the whole answer on any phone', { timeout: 120_000 }, async () => {
  const blocks = blocksOf('migrating.md', 'js')
  assert.equal(blocks.length, 5)
  const question = '👨‍👩‍👧‍👦 你好'
  const asked = await fetch(`${gateway.url}/v1/generations?mode=replace`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ messages: [{ role: 'user', content: question }] }),
  })
  const told = [...(await asked.text()).matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data))
  const answer = told.filter(({ type }) => type === 'snapshot').pop().text
  const programs = await Promise.all(blocks.map((block, index) => programOf(block, `way${index}`)))
  await Promise.all(programs.flatMap((program, index) => PHONES.map(async (options) => {
    const shown = await shownBy(program, question, options)
    assert.equal(shown.pop(), answer, `block ${index + 1} on ${options.profile}`)
    assert.ok(shown.every((text) => answer.startsWith(text)), `block ${index + 1} on ${options.profile} shows what is not the answer's beginning`)
  })))
})
