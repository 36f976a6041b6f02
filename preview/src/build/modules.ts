/**
 * JavaScript and TypeScript as modules: what is reached by `require` or `import` from the files given, with what each name
 * leads to. "ES6 to ES5", as DevTools have it, means here that `import` and `export` become `require`.
 */

import { transformSync } from 'esbuild'
import type { Module } from '../program.js'
import { type Folder, packagePaths, resolvePath } from './folder.js'
import type { Problem } from './problems.js'

const REQUIRE = /\brequire\(\s*(["'])([^"'\n]+)\1\s*\)/g
const ENDINGS = ['', '.js', '.ts', '/index.js', '/index.ts']

export interface Modules {
  modules: Record<string, Module>
  problems: Problem[]
}

export function collectModules(folder: Folder, entries: readonly string[]): Modules {
  const modules: Record<string, Module> = {}
  const problems: Problem[] = []
  const waiting = [...entries]
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (modules[file]) continue
    const code = codeOf(folder, file, problems)
    const requires = requiresOf(folder, file, code, problems)
    modules[file] = { code, requires }
    waiting.push(...Object.values(requires))
  }
  return { modules, problems }
}

/** The file of a page's, a component's or a module's code, or undefined where there is none. */
export function findCode(folder: Folder, path: string): string | undefined {
  return ENDINGS.map((ending) => path + ending).find((file) => /\.[jt]s$/.test(file) && folder.has(file))
}

function codeOf(folder: Folder, file: string, problems: Problem[]): string {
  const source = folder.read(file) || ''
  const isTypeScript = file.endsWith('.ts')
  if (!isTypeScript && !/^\s*(import|export)\b/m.test(source)) return source
  try {
    return transformSync(source, {
      format: 'cjs',
      loader: isTypeScript ? 'ts' : 'js',
      target: 'es2020',
      sourcefile: file,
      logLevel: 'silent',
    }).code
  } catch (error) {
    const { errors = [] } = error as { errors?: { text: string; location?: { line: number } }[] } // esbuild's own
    for (const { text, location } of errors)
      problems.push({ file, ...(location ? { line: location.line } : {}), message: text, isError: true })
    return ''
  }
}

function requiresOf(folder: Folder, file: string, code: string, problems: Problem[]): Record<string, string> {
  const requires: Record<string, string> = {}
  for (const [, , name = ''] of withoutComments(code).matchAll(REQUIRE)) {
    const candidates = /^[./]/.test(name) ? [resolvePath(file, name)] : [resolvePath(file, name), ...packagePaths(file, name)]
    const found = candidates.map((path) => findCode(folder, path)).find((path) => path !== undefined)
    if (found) requires[name] = found
    else problems.push({ file, message: `require(${JSON.stringify(name)}): there is no such module`, isError: true })
  }
  return requires
}

function withoutComments(code: string): string {
  return code.replace(/^\s*\/\/.*$/gm, '').replace(/\/\*[\s\S]*?\*\//g, '')
}
