/**
 * A mini program's folder, built: everything that the runtime needs of it, and what is wrong with it.
 *
 * Law: a program with problems is built as far as it goes, so that they can be shown where the program would be.
 */

import { readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { AppConfig, Config, Part, Program } from '../program.js'
import { BUILT_IN } from '../tags.js'
import { type Folder, openFolder, packagePaths, resolvePath } from './folder.js'
import { collectModules, findCode } from './modules.js'
import type { Problem } from './problems.js'
import { compileWxml } from './wxml.js'
import { compileWxss } from './wxss.js'

interface AppJson extends Omit<Partial<AppConfig>, 'themes'> {
  subPackages?: { root: string; pages: string[] }[]
  subpackages?: { root: string; pages: string[] }[]
  usingComponents?: Record<string, string>
  themeLocation?: string
}

export function buildProgram(place: string): Program {
  const folder = openFolder(place)
  const problems: Problem[] = []
  const json = readJson<AppJson>(folder, 'app.json', problems)
  const app = appOf(folder, json, problems)
  const parts = collectParts(folder, app, json.usingComponents || {}, problems)
  const templates = compileWxml(folder, Object.keys(parts))
  problems.push(...templates.problems, ...unknownTags(parts, templates.tags))
  const styles = addStyles(folder, parts)
  const entries = ['app', ...Object.keys(parts)].map((path) => codeFile(folder, path, problems))
  const { modules, problems: moduleProblems } = collectModules(
    folder,
    entries.filter((file) => file !== ''),
  )
  return {
    name: basename(place),
    appid: folder.appid || 'wx0000000000000000',
    app,
    parts,
    modules,
    ext: readJson<{ ext?: Record<string, unknown> }>(folder, 'ext.json', problems, true).ext || {},
    css: styles.css,
    templates: templates.code,
    bytes: sizeOf(folder.root),
    problems: [...problems, ...styles.problems, ...moduleProblems],
  }
}

function appOf(folder: Folder, json: AppJson, problems: Problem[]): AppConfig {
  const { pages = [], window = {}, darkmode = false, tabBar, themeLocation } = json
  const packages = [...(json.subPackages || []), ...(json.subpackages || [])]
  const further = packages.flatMap(({ root, pages: inside }) => inside.map((page) => `${root.replace(/\/$/, '')}/${page}`))
  const themes = themeLocation ? readJson<Partial<AppConfig['themes']>>(folder, themeLocation, problems) : {}
  return {
    pages: [...pages, ...further],
    window,
    darkmode,
    themes: { light: {}, dark: {}, ...themes },
    ...(tabBar ? { tabBar } : {}),
  }
}

function collectParts(folder: Folder, app: AppConfig, everywhere: Record<string, string>, problems: Problem[]): Record<string, Part> {
  const parts: Record<string, Part> = {}
  const global = absolute(folder, 'app', everywhere, problems)
  const waiting = [...app.pages, ...Object.values(global)]
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    if (parts[path]) continue
    const isPage = app.pages.includes(path)
    const config = readJson<Config>(folder, `${path}.json`, problems, isPage)
    const own = absolute(folder, path, config.usingComponents || {}, problems)
    waiting.push(...Object.values(own))
    const usingComponents = Object.fromEntries(Object.entries({ ...global, ...own }).map(([tag, target]) => [tag, `/${target}`]))
    parts[path] = { config: { ...config, usingComponents }, isPage, scope: '', css: '' }
  }
  return parts
}

/** Where the components are that a json names: beside it, from the root, or in a package. */
function absolute(folder: Folder, file: string, names: Record<string, string>, problems: Problem[]): Record<string, string> {
  const found: Record<string, string> = {}
  for (const [tag, name] of Object.entries(names)) {
    const candidates = [resolvePath(file, name), ...(/^[./]/.test(name) ? [] : packagePaths(file, name))]
    const path = candidates.flatMap((one) => [one, `${one}/index`]).find((one) => folder.has(`${one}.json`))
    if (path) found[tag] = path
    else problems.push({ file: `${file}.json`, message: `usingComponents: ${tag}: there is no component ${name}`, isError: true })
  }
  return found
}

function addStyles(folder: Folder, parts: Record<string, Part>): { css: string; problems: Problem[] } {
  const app = compileWxss(folder, 'app.wxss', '')
  const problems = [...app.problems]
  Object.entries(parts).forEach(([path, part], index) => {
    part.config.styleIsolation ||= isolationIn(folder, path) as string // the code's word for it, or none
    part.scope = isIsolated(part) ? `c${index}` : ''
    const sheet = compileWxss(folder, `${path}.wxss`, part.scope)
    part.css = sheet.css
    problems.push(...sheet.problems)
  })
  return { css: app.css, problems }
}

/** A component may say it in its code as well, where it is found without running it. */
function isolationIn(folder: Folder, path: string): string | undefined {
  const code = folder.read(findCode(folder, path) || '') || ''
  if (/\baddGlobalClass\s*:\s*true/.test(code)) return 'apply-shared'
  return /\bstyleIsolation\s*:\s*["']([a-z-]+)["']/.exec(code)?.[1]
}

function isIsolated({ config: { component, styleIsolation = component ? 'isolated' : 'shared' } }: Part): boolean {
  return styleIsolation !== 'shared' && styleIsolation !== 'page-shared'
}

function codeFile(folder: Folder, path: string, problems: Problem[]): string {
  const file = findCode(folder, path)
  if (!file) problems.push({ file: `${path}.js`, message: 'There is no such file.', isError: true })
  return file || ''
}

function unknownTags(parts: Record<string, Part>, tags: Record<string, Set<string>>): Problem[] {
  return Object.entries(parts).flatMap(([path, { config }]) => {
    const known = new Set([...BUILT_IN, ...Object.keys(config.usingComponents || {}), ...Object.keys(config.componentGenerics || {})])
    const unknown = [...(tags[path] || [])].filter((tag) => !known.has(tag))
    return unknown.map((tag) => ({
      file: `${path}.wxml`,
      message: `<${tag}> is neither built in here nor in usingComponents; it is shown as an empty box`,
      isError: false,
    }))
  })
}

function readJson<T extends object>(folder: Folder, file: string, problems: Problem[], isOptional = false): Partial<T> {
  const text = folder.read(file)
  if (text === undefined) {
    if (!isOptional) problems.push({ file, message: 'There is no such file.', isError: true })
    return {}
  }
  try {
    return JSON.parse(text) as Partial<T> // what it should be; the runtime looks only at fields that are there
  } catch (error) {
    problems.push({ file, message: String(error), isError: true })
    return {}
  }
}

function sizeOf(place: string): number {
  return readdirSync(place, { withFileTypes: true })
    .filter(({ name }) => name !== 'node_modules' && !name.startsWith('.'))
    .reduce((sum, entry) => sum + (entry.isDirectory() ? sizeOf(join(place, entry.name)) : statSync(join(place, entry.name)).size), 0)
}
