/**
 * The files of a mini program, as its code names them: by paths with slashes, from the program's root.
 *
 * Laws: nothing outside the folder is read, but for npm packages; what "build npm" would put into `miniprogram_npm` is there,
 * whether it was run or not.
 */

import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { dirname, join, posix, sep } from 'node:path'
import { buildSync } from 'esbuild'

export interface Folder {
  /** On this machine. */
  root: string
  /** Of project.config.json; '' if it says none. */
  appid: string
  /** The text of a file, or undefined where there is none. */
  read(path: string): string | undefined
  has(path: string): boolean
}

/** Open a mini program: the folder with app.json, or the one with a project.config.json that names it. */
export function openFolder(place: string): Folder {
  const project = projectOf(place)
  const root = rootOf(place, project)
  const contents = new Map<string, string | undefined>()
  const read = (path: string) => {
    if (!contents.has(path)) contents.set(path, readOwn(root, path) ?? readPackage(root, path))
    return contents.get(path)
  }
  return { root, appid: project.appid || '', read, has: (path) => read(path) !== undefined }
}

/** What `target` means in `file`: from the root if it begins with a slash, else from beside the file. */
export function resolvePath(file: string, target: string): string {
  return target.startsWith('/') ? posix.normalize(target.slice(1)) : posix.join(posix.dirname(file), target)
}

/** What a name that is neither relative nor absolute may mean in `file`: a package in this or an outer folder. */
export function packagePaths(file: string, name: string): string[] {
  const paths: string[] = []
  for (let folder = posix.dirname(file); ; folder = posix.dirname(folder)) {
    paths.push(posix.join(folder, 'miniprogram_npm', name))
    if (folder === '.') return paths
  }
}

interface Project {
  appid?: string
  miniprogramRoot?: string
}

function projectOf(place: string): Project {
  return JSON.parse(readFile(join(place, 'project.config.json')) || '{}') as Project
}

function rootOf(place: string, { miniprogramRoot: root }: Project): string {
  if (existsSync(join(place, 'app.json'))) return realpathSync(place)
  if (root && existsSync(join(place, root, 'app.json'))) return realpathSync(join(place, root))
  throw new Error(`${place} is no mini program: there is no app.json in it. Name the folder that holds one.`)
}

function readOwn(root: string, path: string): string | undefined {
  if (posix.normalize(path).startsWith('..')) return undefined
  const text = readFile(join(root, path))
  if (text !== undefined && !realpathSync(join(root, path)).startsWith(root + sep)) throw new Error(`${path} leads out of ${root}.`)
  return text
}

function readPackage(root: string, path: string): string | undefined {
  const [, name, rest] = /^miniprogram_npm\/((?:@[^/]+\/)?[^/]+)\/(.+)$/.exec(path) || []
  if (!name || !rest) return undefined
  for (let folder = root; ; folder = dirname(folder)) {
    const place = join(folder, 'node_modules', name)
    if (existsSync(join(place, 'package.json'))) return readBuilt(place, rest)
    if (folder === dirname(folder)) return undefined
  }
}

/** "Build npm": a package made for mini programs is taken as it is, of another its main file, in one piece. */
function readBuilt(place: string, rest: string): string | undefined {
  const { miniprogram = 'miniprogram_dist' } = JSON.parse(readFile(join(place, 'package.json')) || '{}') as { miniprogram?: string }
  if (existsSync(join(place, miniprogram))) return readFile(join(place, miniprogram, rest))
  if (rest !== 'index.js') return undefined
  const built = buildSync({
    entryPoints: [place],
    bundle: true,
    write: false,
    format: 'cjs',
    target: 'es2018',
    platform: 'neutral',
    mainFields: ['main'],
    logLevel: 'silent',
  })
  return built.outputFiles[0]?.text
}

function readFile(place: string): string | undefined {
  return existsSync(place) && statSync(place).isFile() ? readFileSync(place, 'utf8') : undefined
}
