/**
 * `npm run build`: dist (ESM and types, for bundlers; dist/emulator for Node, dist/emulator/cjs for its `require`),
 * miniprogram_dist (CommonJS, for "build npm") and miniprogram_dist/dazi.js, which is all of it in one file, to copy.
 */

import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { build } from 'esbuild'

const root = new URL('..', import.meta.url).pathname
const compiler = createRequire(import.meta.url).resolve('typescript/package.json').replace('package.json', 'bin/tsc')
const COMMON_JS = ['--module', 'CommonJS', '--verbatimModuleSyntax', 'false']
for (const [folder, project, ...options] of [
  ['dist', 'tsconfig.json'],
  ['dist/emulator', 'tsconfig.emulator.json'],
  ['dist/emulator/cjs', 'tsconfig.emulator.json', ...COMMON_JS],
  ['miniprogram_dist', 'tsconfig.json', ...COMMON_JS],
]) {
  rmSync(new URL(`../${folder}`, import.meta.url), { recursive: true, force: true })
  execFileSync(process.execPath, [compiler, '-p', project, '--outDir', folder, ...options], { cwd: root, stdio: 'inherit' })
}

// The package is "module"; Node and test runners should take these files for what they are.
for (const folder of ['dist/emulator/cjs', 'miniprogram_dist']) {
  writeFileSync(new URL(`../${folder}/package.json`, import.meta.url), '{ "type": "commonjs" }\n')
}

const PARTS = ['index', 'utf8', 'markdown', ...['wx', 'my', 'tt', 'uni', 'taro', 'fetch'].map((name) => `platform/${name}`)]
await build({
  stdin: { contents: PARTS.map((part) => `export * from './src/${part}.ts'`).join('\n'), resolveDir: root, loader: 'ts' },
  absWorkingDir: root, bundle: true, format: 'cjs', target: 'es2018', charset: 'utf8', outfile: 'miniprogram_dist/dazi.js',
  banner: { js: '// dazi in one file: `const { createClient, createWxPlatform } = require("./dazi.js")`' },
})
