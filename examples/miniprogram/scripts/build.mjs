/**
 * `npm run build`: dist/, which WeChat DevTools and Dazi's preview open.
 *
 * tsc makes the scripts; templates, styles and settings are copied; of the npm packages comes what the scripts require,
 * and nothing else ("build npm" of DevTools would take each package whole). WeChat's own compilers look at the templates
 * and styles where they run (Linux), and the size is told: at most 200 KB.
 */

import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, extname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const SOURCE = join(ROOT, 'src')
const DIST = join(ROOT, 'dist')
const MOST_BYTES = 200 * 1024
const require = createRequire(import.meta.url)

rmSync(DIST, { recursive: true, force: true })
compileScripts()
copyTheRest()
takePackages()
check('wcc', '.wxml', ['-d'])
check('wcsc', '.wxss', ['-lc'])
tellSize()

function compileScripts() {
  const compiler = require.resolve('typescript/package.json').replace('package.json', 'bin/tsc')
  const { status } = spawnSync(process.execPath, [compiler, '-p', ROOT], { stdio: 'inherit' })
  if (status) process.exit(status)
}

function copyTheRest() {
  cpSync(SOURCE, DIST, { recursive: true, filter: (path) => extname(path) !== '.ts' })
}

/** Copy the modules of packages that the scripts require, and those that they require, into miniprogram_npm. */
function takePackages() {
  const known = new Set()
  const take = (name) => {
    if (known.has(name)) return
    known.add(name)
    const [owner, ...path] = name.split('/')
    const folder = join(ROOT, 'node_modules', owner)
    const { miniprogram } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    const script = `${path.join('/') || 'index'}.js`
    const target = join(DIST, 'miniprogram_npm', owner, script)
    mkdirSync(dirname(target), { recursive: true })
    cpSync(join(folder, miniprogram, script), target)
    for (const inner of requiredBy(target)) if (inner.startsWith('.')) take(join(owner, dirname(script), inner).replace(/\.js$/, ''))
  }
  for (const path of files(DIST)) if (path.endsWith('.js')) for (const name of requiredBy(path)) if (!/^[./]/.test(name)) take(name)
}

function requiredBy(path) {
  return [...readFileSync(path, 'utf8').matchAll(/\brequire\(["']([^"']+)["']\)/g)].map(([, name]) => name)
}

function files(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? files(path) : [path]
  })
}

function check(compiler, extension, options) {
  if (process.platform !== 'linux' || process.arch !== 'x64') return
  const program = join(dirname(require.resolve('miniprogram-compiler/package.json')), 'bin/linux', compiler)
  if (!existsSync(program)) throw new Error(`WeChat's compilers are not there (${program}): npm install`)
  chmodSync(program, 0o755) // the package was unpacked without its install script
  const names = files(DIST).filter((path) => path.endsWith(extension)).map((path) => relative(DIST, path))
  const { status, stdout, stderr } = spawnSync(program, [...options, ...names], { cwd: DIST, maxBuffer: 1 << 26 })
  if (status) throw new Error(`${compiler} refuses the ${extension} files:\n${stdout}${stderr}`)
  console.log(`${compiler}: ${names.length} ${extension} files are clean`)
}

function tellSize() {
  const all = files(DIST)
  const bytes = all.reduce((sum, path) => sum + statSync(path).size, 0)
  console.log(`dist: ${all.length} files, ${(bytes / 1024).toFixed(1)} KB`)
  if (bytes > MOST_BYTES) throw new Error(`The mini program has ${bytes} bytes, more than ${MOST_BYTES}.`)
}
