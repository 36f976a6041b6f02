/** WeChat DevTools' "build npm", as far as a package like ours needs it, and a mini program's `require`. */

import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

/** Copy what the `miniprogram` field of each package in node_modules names into miniprogram_npm. */
export function buildNpm(project: string): void {
  for (const name of readdirSync(join(project, 'node_modules'))) {
    const from = join(project, 'node_modules', name)
    const { miniprogram } = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8'))
    cpSync(join(from, miniprogram), join(project, 'miniprogram_npm', name), { recursive: true })
  }
}

/**
 * All scripts of a project as one, for a bare engine: `load(path)` is a module's exports. A mini program knows no
 * `exports` of packages: a name is a path below miniprogram_npm, with or without `.js`, or a folder's index.
 */
export function scriptOf(project: string): string {
  const files: Record<string, string> = {}
  for (const entry of readdirSync(project, { recursive: true, withFileTypes: true })) {
    const path = relative(project, join(entry.parentPath, entry.name))
    if (entry.isFile() && path.endsWith('.js') && !path.startsWith('node_modules')) files[path] = readFileSync(join(project, path), 'utf8')
  }
  return `var files = ${JSON.stringify(files)}; var loaded = {}; ${resolve} ${load}`
}

function resolve(name: string, from: string): string | undefined {
  const parts = name[0] === '.' ? from.split('/').slice(0, -1) : ['miniprogram_npm']
  for (const part of name.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  const path = parts.join('/')
  return [path, `${path}.js`, `${path}/index.js`].find((candidate) => candidate in files)
}

declare const files: Record<string, string>
declare const loaded: Record<string, { exports: unknown }>

function load(name: string, from = ''): unknown {
  const path = resolve(name, from)
  if (!path) throw new Error(`module '${name}' is not defined, require args is '${name}'`)
  if (!loaded[path]) {
    loaded[path] = { exports: {} }
    new Function('module', 'exports', 'require', files[path])(loaded[path], loaded[path].exports, (inner: string) => load(inner, path))
  }
  return loaded[path].exports
}
