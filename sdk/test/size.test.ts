import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const root = new URL('..', import.meta.url).pathname

/** What the README promises, and the most that it may ever promise, in KB of 1,024 bytes. */
const PARTS = [
  { row: '`dazi/utf8`', source: "export * from './src/utf8.ts'", limit: 0.8 },
  { row: '`dazi/sse` with `dazi/utf8`', source: "export { createSseParser } from './src/sse.ts'", limit: 2 },
  { row: '`dazi/typewriter`', source: "export { createTypewriter } from './src/typewriter.ts'", limit: 1.4 },
  { row: 'the client for WeChat, with all of it but the typewriter', source: "export * from './src/client.ts'; export * from './src/platform/wx.ts'", limit: 5 },
  { row: 'the client for WeChat, with the typewriter', source: "export * from './src/client.ts'; export * from './src/platform/wx.ts'; export * from './src/typewriter.ts'", limit: 6 },
  { row: '`dazi/markdown`', source: "export * from './src/markdown.ts'", limit: 4.5 },
]

async function kilobytes(source: string): Promise<number> {
  const stdin = { contents: source, resolveDir: root, loader: 'ts' } as const
  const result = await build({ stdin, bundle: true, minify: true, write: false, format: 'esm', target: 'es2018' })
  return gzipSync(result.outputFiles[0].contents, { level: 9 }).length / 1024
}

for (const { row, source, limit } of PARTS) {
  test(`${row} is as small as the README says`, async () => {
    const line = readFileSync(`${root}README.md`, 'utf8').split('\n').find((text) => text.startsWith(`| ${row} |`))
    const promised = Number(/([\d.]+) KB/.exec(line || '')?.[1])
    const size = await kilobytes(source)
    assert.ok(size <= limit, `${size.toFixed(2)} KB is more than ${limit} KB`)
    assert.equal(promised, Math.ceil(size * 10) / 10, 'the README should say so')
  })
}
