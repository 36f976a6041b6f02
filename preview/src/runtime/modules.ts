/**
 * The program's code, run as WeChat runs it: in modules, without a browser around it.
 *
 * Law: what the logic layer of a phone has not is not there either (`window`, `document`, `fetch`, `TextDecoder`), so a page that
 * secretly needs it fails here as it would there. That is fidelity, not safety.
 */

import type { Module, Program } from '../program.js'
import type { Constructors, Definition, Engine } from './engine.js'

const ABSENT = (
  'window document self globalThis fetch XMLHttpRequest WebSocket EventSource localStorage sessionStorage navigator ' +
  'location history TextDecoder TextEncoder URL URLSearchParams AbortController ReadableStream Blob atob btoa ' +
  'structuredClone requestAnimationFrame cancelAnimationFrame Intl process Buffer crypto performance'
).split(' ')

// Behaviors that a program names by a string.
const NAMED: Record<string, Definition> = {
  'wx://form-field': { properties: { name: String, value: { type: null, value: '' } } },
  'wx://form-field-group': {},
  'wx://form-field-button': {},
  'wx://component-export': {},
}

export interface Globals {
  App(definition: Definition): void
  getApp(): unknown
  getCurrentPages(): unknown[]
  wx: unknown
}

interface Inside extends Globals, Constructors {
  global: object
}

/** Run app.js, then the code of every part: what defines them is there before the first page is made. */
export function runProgram({ modules, parts }: Program, engine: Engine, globals: Globals): void {
  // Whose file is being run: a `Page` in it, or a `Behavior` in a module that it requires, is of that part.
  let now: Constructors | undefined
  const named = new Map<string, unknown>()

  function constructors(): Constructors {
    if (!now) throw new Error('Page, Component and Behavior can be called while the program is being loaded only.')
    return now
  }

  function known(definition: Definition = {}): Definition {
    const { Behavior } = constructors()
    const behaviors = (definition['behaviors'] as unknown[] | undefined)?.map((behavior) => {
      if (typeof behavior !== 'string') return behavior
      if (!named.has(behavior)) named.set(behavior, Behavior(NAMED[behavior] || {}))
      return named.get(behavior)
    })
    return behaviors ? { ...definition, behaviors } : definition
  }

  const require = createLoader(modules, {
    ...globals,
    // A phone has one, and uni-app leaves its own in it.
    global: {},
    Page: (definition) => constructors().Page(known(definition)),
    Component: (definition) => (definition ? constructors().Component(known(definition)) : constructors().Component()),
    Behavior: (definition) => (definition ? constructors().Behavior(known(definition)) : constructors().Behavior()),
  })
  const codeOf = (path: string) => [`${path}.js`, `${path}.ts`, `${path}/index.js`].find((file) => modules[file]) || `${path}.js`
  // Behaviors of the app's own modules belong to no part.
  engine.define('app', { config: {}, isPage: false, scope: '', css: '' }, (own) => {
    now = own
    require(codeOf('app'))
  })
  for (const [path, part] of Object.entries(parts)) {
    engine.define(path, part, (own) => {
      now = own
      require(codeOf(path))
    })
  }
}

function createLoader(modules: Record<string, Module>, globals: Inside): (path: string) => unknown {
  const loaded = new Map<string, { exports: unknown }>()
  const names = Object.keys(globals)
  const values = Object.values(globals)

  function require(path: string): unknown {
    const known = loaded.get(path)
    if (known) return known.exports
    const source = modules[path]
    if (!source) throw new Error(`module '${path}' is not defined`)
    const module = { exports: {} }
    loaded.set(path, module)
    const inside = (name: string) => {
      const target = source.requires[name]
      if (!target) throw new Error(`module '${name}' is not defined, require args is '${name}' (in ${path})`)
      return require(target)
    }
    // A function in a function: a program may well have a variable of its own called `URL`. All before the code is on its first
    // line, so that places are those of the file, which those of `new Function` are not; the eval is indirect, and so sees nothing of here.
    const inner = `return function(require,module,exports){"use strict";${source.code}\n}`
    const wrapped = `(function(${[...names, ...ABSENT].join()}){${inner}})\n//# sourceURL=program/${path}`
    const outer = (0, eval)(wrapped) as (...values: unknown[]) => (require: unknown, module: object, exports: object) => void
    outer(...values)(inside, module, module.exports)
    return module.exports
  }

  return require
}
