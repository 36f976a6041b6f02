/**
 * `npm run page`: what the gateway's chat page takes of the SDK, as one readable file, which is committed, so that the
 * gateway needs no Node. test/page.test.ts keeps it in step.
 */

import { writeFileSync } from 'node:fs'
import { build } from 'esbuild'

const root = new URL('..', import.meta.url).pathname
export const file = new URL('../../src/dazi/web/page/sdk.js', import.meta.url).pathname

const SOURCE = `
export { EMPTY } from './src/answer.ts'
export { createClient } from './src/client.ts'
export { createMarkdown } from './src/markdown.ts'
export { fetchPlatform } from './src/platform/fetch.ts'
export { createTypewriter } from './src/typewriter.ts'
`
const BANNER = `// Built from sdk/src by "npm run page" in sdk/; change it there.`

export async function bundled() {
  const stdin = { contents: SOURCE, resolveDir: root, loader: 'ts' }
  const options = { bundle: true, write: false, format: 'esm', target: 'es2020', charset: 'utf8', banner: { js: BANNER } }
  return (await build({ stdin, absWorkingDir: root, ...options })).outputFiles[0].text
}

if (process.argv[1] === new URL(import.meta.url).pathname) writeFileSync(file, await bundled())
