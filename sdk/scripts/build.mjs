/**
 * `npm run build`: dist (ESM and types, for bundlers; dist/emulator for Node), miniprogram_dist (CommonJS, for "build npm")
 * and miniprogram_dist/dazi.js, which is all of it in one file, to copy.
 */

import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { build } from 'esbuild'

const root = new URL('..', import.meta.url).pathname
const compiler = createRequire(import.meta.url).resolve('typescript/package.json').replace('package.json', 'bin/tsc')
for (const [folder, project] of [['dist', 'tsconfig.json'], ['dist/emulator', 'tsconfig.emulator.json'], ['miniprogram_dist', 'tsconfig.miniprogram.json']]) {
  rmSync(new URL(`../${folder}`, import.meta.url), { recursive: true, force: true })
  execFileSync(process.execPath, [compiler, '-p', project], { cwd: root, stdio: 'inherit' })
}

// The package is "module"; Node and test runners should take these files for what they are.
writeFileSync(new URL('../miniprogram_dist/package.json', import.meta.url), '{ "type": "commonjs" }\n')

const PARTS = ['index', 'utf8', 'markdown', ...['wx', 'my', 'tt', 'uni', 'taro', 'fetch'].map((name) => `platform/${name}`)]
await build({
  stdin: { contents: PARTS.map((part) => `export * from './src/${part}.ts'`).join('\n'), resolveDir: root, loader: 'ts' },
  absWorkingDir: root, bundle: true, format: 'cjs', target: 'es2018', charset: 'utf8', outfile: 'miniprogram_dist/dazi.js',
  banner: { js: '// dazi in one file: `const { createClient, createWxPlatform } = require("./dazi.js")`' },
})
