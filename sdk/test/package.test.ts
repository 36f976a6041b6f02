/** What is published is what is used here: the packed tarball, in the three ways that programs take it. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { build } from 'esbuild'
import { buildNpm, scriptOf } from './build-npm.js'
import { runInQuickJs } from './engines.js'

const root = new URL('..', import.meta.url).pathname
const PLATFORMS = ['fetch', 'my', 'taro', 'tt', 'uni', 'wx']
const PARTS = ['answer', 'client', 'event-source', 'markdown', 'sse', 'typewriter', 'utf8', ...PLATFORMS.map((name) => `platform/${name}`)]

let project = ''

/** A project that has installed the tarball, as npm would unpack it. */
before(() => {
  project = mkdtempSync(join(tmpdir(), 'dazi-package-'))
  execFileSync('npm', ['pack', '--silent', '--pack-destination', project], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
  const [tarball] = readdirSync(project)
  const target = join(project, 'node_modules/dazi')
  mkdirSync(target, { recursive: true })
  execFileSync('tar', ['xzf', join(project, tarball), '-C', target, '--strip-components=1'])
})

after(() => rmSync(project, { recursive: true }))

function write(name: string, text: string): string {
  writeFileSync(join(project, name), text)
  return join(project, name)
}

test('the tarball has what it needs and no more', () => {
  const folders = readdirSync(join(project, 'node_modules/dazi')).sort()
  assert.deepEqual(folders, ['LICENSE', 'README.md', 'README.zh-CN.md', 'dist', 'miniprogram_dist', 'package.json'])
  const { dependencies, miniprogram } = JSON.parse(readFileSync(join(project, 'node_modules/dazi/package.json'), 'utf8'))
  assert.deepEqual([dependencies, miniprogram], [undefined, 'miniprogram_dist'])
  for (const part of PARTS) assert.ok(existsSync(join(project, `node_modules/dazi/miniprogram_dist/${part}.js`)), part)
})

const PAGE = `
const { createSseParser } = require('dazi/sse')
const { createMarkdown } = require('dazi/markdown.js')
const { createClient, createTypewriter } = require('dazi')
const platforms = [require('dazi/platform/my'), require('dazi/platform/tt'), require('dazi/platform/uni'), require('dazi/platform/taro')]
const { createWxPlatform } = require('dazi/platform/wx')

exports.run = () => {
  const sent = []
  const clock = { now: () => 0, later: () => () => {} }
  const wx = { request: (options) => { sent.push(options); return { abort() {}, onChunkReceived(listener) { wx.chunk = listener } } } }
  const updates = []
  createClient({ url: 'https://a.b', platform: createWxPlatform(wx, clock) }).ask({ messages: [] }, (update) => updates.push(update))
  const bytes = [0x64, 0x61, 0x74, 0x61, 0x3a, 0xe4, 0xbd, 0xa0, 10, 10]
  const events = createSseParser().feed(new Uint8Array(bytes))
  const markdown = createMarkdown()
  const frames = []
  createTypewriter((frame) => frames.push(frame.text), clock).append('你好')
  wx.chunk({ data: new Uint8Array([...'id: 1-1\\ndata: {"type":"started","generation":"g"}\\n\\n'].map((c) => c.charCodeAt(0))).buffer })
  return JSON.stringify([events[0].data, markdown.update('# 你'), frames, sent[0].enableChunked, updates.pop().generation, platforms.length])
}
`

test('a native mini program uses it after "build npm", on a bare engine', async () => {
  const folder = mkdtempSync(join(project, 'native-'))
  symlinkSync(join(project, 'node_modules'), join(folder, 'node_modules'))
  buildNpm(folder)
  mkdirSync(join(folder, 'pages'))
  writeFileSync(join(folder, 'pages/index.js'), PAGE)
  const answer = await runInQuickJs(scriptOf(folder), "load('./pages/index.js', '').run()")
  const patch = { 'nodes[0]': { type: 'heading', level: 1, spans: [{ text: '你' }] } }
  assert.deepEqual(JSON.parse(answer), ['你', patch, ['你'], true, 'g', 4])
})

test('one file, copied, is enough, on a bare engine', async () => {
  const folder = mkdtempSync(join(project, 'copied-'))
  const file = readFileSync(join(project, 'node_modules/dazi/miniprogram_dist/dazi.js'), 'utf8')
  assert.doesNotMatch(file, /\brequire\((?!"\.\/dazi)/)
  writeFileSync(join(folder, 'dazi.js'), file)
  writeFileSync(join(folder, 'index.js'), PAGE.replace(/require\('dazi[^']*'\)/g, "require('./dazi.js')"))
  const answer = await runInQuickJs(scriptOf(folder), "load('./index.js', '').run()")
  const patch = { 'nodes[0]': { type: 'heading', level: 1, spans: [{ text: '你' }] } }
  assert.deepEqual(JSON.parse(answer), ['你', patch, ['你'], true, 'g', 4])
})

async function bundled(source: string): Promise<string> {
  const entryPoints = [write('entry.mjs', source)]
  const result = await build({ entryPoints, absWorkingDir: project, bundle: true, minify: true, write: false, format: 'esm', target: 'es2018' })
  return result.outputFiles[0].text
}

test('a bundler takes the ESM, and of it only what is used', async () => {
  const code = await bundled(`
    import { createClient } from 'dazi'
    import { createUtf8Decoder } from 'dazi/utf8'
    ${PLATFORMS.map((name) => `import * as ${name} from 'dazi/platform/${name}'`).join('\n')}
    export const names = Object.keys({ ...${PLATFORMS.join(', ...')} })
    export const text = createUtf8Decoder().decode(new Uint8Array([0xe4, 0xbd, 0xa0]))
    export { createClient }
  `)
  const { names, text, createClient } = await import(`data:text/javascript,${encodeURIComponent(code)}`)
  assert.deepEqual([names.length, text, typeof createClient], [PLATFORMS.length, '你', 'function'])
  const parser = await bundled("export { createSseParser } from 'dazi'")
  const alone = await bundled("export { createSseParser } from 'dazi/sse'")
  assert.equal(parser.length, alone.length)
})

/** A test of somebody's: a phone, a server, the SDK. */
const PHONE_TEST = `
async function main({ createEmulator }, { openEventSource }, { createWxPlatform }) {
  const server = require('node:http').createServer((_, response) => {
    response.write('data: 你好\\n\\n') // before the end, so that it is chunked
    response.end()
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const phone = createEmulator({ profile: 'ios', timeScale: 20, link: { cut: 'bytes' } })
  const url = 'http://127.0.0.1:' + server.address().port
  openEventSource({
    url, platform: createWxPlatform(phone.wx, phone.clock), method: 'POST',
    onEvent: ({ data }) => console.log(data),
    onEnd: () => (phone.close(), server.close()),
  })
}
`
const NAMES = ['dazi/emulator', 'dazi/event-source', 'dazi/platform/wx']

for (const [way, modules] of [
  ['require', `main(${NAMES.map((name) => `require('${name}')`)})`],
  ['import', `Promise.all([${NAMES.map((name) => `import('${name}')`)}]).then((all) => main(...all))`],
]) {
  test(`the emulator is used in Node, by ${way}`, () => {
    assert.equal(execFileSync(process.execPath, ['-e', PHONE_TEST + modules], { cwd: project, encoding: 'utf8' }).trim(), '你好')
  })
}

test('Node takes it by import and by require', () => {
  const code = "import('dazi/sse').then((esm) => console.log(typeof esm.createSseParser, typeof require('dazi/sse').createSseParser, typeof require('dazi').createClient))"
  assert.equal(execFileSync(process.execPath, ['-e', code], { cwd: project, encoding: 'utf8' }).trim(), 'function function function')
})

const TYPED = `
${PARTS.map((part, index) => `import * as part${index} from 'dazi/${part}'`).join('\n')}
import { createClient, createTypewriter, type Update } from 'dazi'
import { createEmulator, type Emulator } from 'dazi/emulator'
import { createMarkdown, type Node, type Patch } from 'dazi/markdown'
import { createWxPlatform } from 'dazi/platform/wx'

export const parts: object[] = [${PARTS.map((_, index) => `part${index}`).join(', ')}]
const client = createClient({ url: 'https://a.b', platform: createWxPlatform(wx) })
const markdown = createMarkdown()
const patches: Patch[] = []
const typewriter = createTypewriter(({ text, done }) => patches.push(markdown.update(text, done)))
export const following = client.ask({ messages: [] }, (update: Update) => typewriter.replace(update.text))
export const nodes: readonly Node[] = markdown.nodes()
export const phone: Emulator = createEmulator({ profile: 'ios' })
export const tested = createClient({ url: 'https://a.b', platform: createWxPlatform(phone.wx, phone.clock) })
// @ts-expect-error: a client needs a platform
createClient({ url: 'https://a.b' })
`

for (const [module, moduleResolution] of [['ESNext', 'bundler'], ['Node16', 'Node16'], ['CommonJS', 'bundler']]) {
  test(`TypeScript takes it with strict, as ${module} with ${moduleResolution}, and takes the real wx`, () => {
    const folder = mkdtempSync(join(project, 'typed-'))
    writeFileSync(join(folder, 'index.ts'), TYPED)
    const typings = join(root, 'node_modules/miniprogram-api-typings/index.d.ts')
    const compilerOptions = { strict: true, exactOptionalPropertyTypes: true, target: 'ES2018', lib: ['ES2018'], types: [], noEmit: true, module, moduleResolution }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['index.ts', typings] }))
    const compiler = createRequire(import.meta.url).resolve('typescript/package.json').replace('package.json', 'bin/tsc')
    try {
      execFileSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' })
    } catch (error) {
      // What the compiler says is in its output; the cast is for that.
      assert.fail((error as { stdout: string }).stdout)
    }
  })
}
