/** The code of the guides is what TypeScript accepts, strictly, and the same in both languages. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'

const root = new URL('..', import.meta.url).pathname
const compiler = createRequire(import.meta.url).resolve('typescript/package.json').replace('package.json', 'bin/tsc')

const HOSTS = `
declare const uni: import('dazi/platform/uni').Uni
declare module '@tarojs/taro' {
  const Taro: import('dazi/platform/taro').Taro
  export default Taro
}
`

function blocksOf(name: string): string[] {
  return [...readFileSync(join(root, '../docs', name), 'utf8').matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, block]) => block)
}

test('the code of the guides compiles, and is the same in both languages', () => {
  const blocks = blocksOf('sdk.md')
  assert.ok(blocks.length >= 6)
  assert.deepEqual(blocksOf('sdk.zh-CN.md'), blocks)
  const folder = mkdtempSync(join(root, 'node_modules/.docs-'))
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
  } finally {
    rmSync(folder, { recursive: true })
  }
})
