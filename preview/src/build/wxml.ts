/**
 * WXML and WXS, by the engine's own compiler. All files of a program are compiled together, so that `import`, `include` and
 * `wxs` find each other.
 */

import { createRequire } from 'node:module'
import type { TmplGroup as Group } from 'glass-easel-template-compiler'
import { builtInPath, TEMPLATES } from '../tags.js'
import { type Folder, resolvePath } from './folder.js'
import type { Problem } from './problems.js'

// The package's ES module wants to be bundled; its CommonJS one runs as it is.
const { TmplGroup } = createRequire(import.meta.url)('glass-easel-template-compiler') as { TmplGroup: new () => Group }

export interface Templates {
  /** An expression, in which `describe` is what gives WXS its descriptors. */
  code: string
  /** The tags that each template uses. */
  tags: Record<string, Set<string>>
  problems: Problem[]
}

interface Diagnosis {
  isError: boolean
  level: number
  message: string
  startLine: number
}

// The compiler takes WXS for JavaScript: what WXS has besides is given to it here. `describe` is the runtime's: functions of WXS get
// descriptors of elements, those that listen to an event (`lv` is set then) and those that watch a property (`change:`).
const WXS = [
  'function getRegExp(p,f){return new RegExp(p,f)}',
  'function getDate(){return arguments.length?new (Function.prototype.bind.apply(Date,[null].concat([].slice.call(arguments)))):new Date()}',
  // A phone's event has its detail of its own, for which uni-app and Taro look.
  'Q.C=function(elem,ev,f,lv){Object.defineProperty(ev,"detail",{value:ev.detail,enumerable:true,writable:true,configurable:true});if(!lv)return f.call(elem,ev);ev.instance=describe(ev.currentTarget);return f.call(elem,ev,describe(elem))}',
  'Q.A=function(f){return typeof f==="function"?function(v,old,owner,elem){return f(v,old,describe(owner),describe(elem))}:f}',
  '',
].join(';')

export function compileWxml(folder: Folder, paths: readonly string[]): Templates {
  const group = new TmplGroup()
  const problems: Problem[] = []
  const tags: Record<string, Set<string>> = {}
  const done = new Set<string>()
  const waiting = [...paths]
  group.setExtraRuntimeScript(WXS)
  for (const [tag, template] of Object.entries(TEMPLATES)) group.addTmpl(builtInPath(tag), template)
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (done.has(path)) continue
    done.add(path)
    const source = folder.read(`${path}.wxml`)
    if (source === undefined) {
      problems.push({ file: `${path}.wxml`, message: 'There is no such file.', isError: true })
      group.addTmpl(path, '')
      continue
    }
    problems.push(...diagnose(group, path, source))
    mendInline(group, path)
    waiting.push(...group.getDirectDependencies(path).map(String))
    for (const script of group.getScriptDependencies(path).map(String)) addScript(folder, group, script, done, problems)
    tags[path] = new Set([...group.getTmplGenObject(path).matchAll(/\bE\("([^"]+)",/g)].map(([, tag = '']) => tag))
  }
  const code = group.getTmplGenObjectGroups()
  group.free()
  return { code, tags, problems }
}

function diagnose(group: Group, path: string, source: string): Problem[] {
  // The compiler's typings say `any`.
  const diagnoses = group.addTmpl(path, source) as unknown as Diagnosis[]
  const told = diagnoses.map(({ isError, message, startLine }) => ({ file: `${path}.wxml`, line: startLine, message, isError }))
  return told.filter(({ isError, message }) => isError || !/deprecated/i.test(message))
}

function addScript(folder: Folder, group: Group, path: string, done: Set<string>, problems: Problem[]): void {
  const file = `${path}.wxs`
  if (done.has(file)) return
  done.add(file)
  const source = folder.read(file)
  if (source === undefined) return void problems.push({ file, message: 'There is no such file.', isError: true })
  group.addScript(path, mended(source))
  for (const [, , name = ''] of source.matchAll(/\brequire\(\s*(["'])([^"'\n]+)\1\s*\)/g)) {
    addScript(folder, group, resolvePath(file, name).replace(/\.wxs$/, ''), done, problems)
  }
}

function mendInline(group: Group, path: string): void {
  for (const name of group.getInlineScriptModuleNames(path).map(String)) {
    group.setInlineScript(path, name, mended(group.getInlineScript(path, name)))
  }
}

// Comments, and strings; WXS has no other literals that could hold a quote.
const STRINGS = /\/\*[\s\S]*?\*\/|\/\/.*|'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"/g

/**
 * In WXS a `constructor` is a name, a `require` has the file's extension, and a backslash that begins no escape stands, as in
 * `getRegExp('\d')`.
 */
function mended(source: string): string {
  const strings = source.replace(STRINGS, (text) => (text.startsWith('/') ? text : text.replace(/\\([\s\S])/g, withBackslash)))
  return strings.replace(/\.constructor\b/g, '.constructor.name').replace(/(\brequire\(\s*["'][^"'\n]+?)\.wxs(["'])/g, '$1$2')
}

function withBackslash(whole: string, letter: string): string {
  return /[nrtux'"\\\n]/.test(letter) ? whole : `\\${whole}`
}
