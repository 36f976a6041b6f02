/** Where the suites run: Node as it is, and a bare ECMAScript engine without timers, TextDecoder, URL or Intl. */

import { build } from 'esbuild'
import { getQuickJS } from 'quickjs-emscripten'

/** Bundle a module into one script for any engine; its exports are the global `suite`. */
export async function bundle(file: string): Promise<string> {
  const root = new URL('..', import.meta.url).pathname
  const options = { bundle: true, write: false, format: 'iife', globalName: 'suite', target: 'es2018' } as const
  const result = await build({ ...options, absWorkingDir: root, entryPoints: [file] })
  return result.outputFiles[0].text
}

/** Run a script, then an expression whose value is text, in a fresh QuickJS; it has `now()` beside ECMAScript. */
export async function runInQuickJs(script: string, expression: string): Promise<string> {
  const context = (await getQuickJS()).newContext()
  try {
    context.newFunction('now', () => context.newNumber(performance.now())).consume((now) => context.setProp(context.global, 'now', now))
    context.unwrapResult(context.evalCode(script)).dispose()
    const answer = context.unwrapResult(context.evalCode(expression))
    return answer.consume((handle) => context.getString(handle))
  } finally {
    context.dispose()
  }
}

/** Run something as if the platform had no TextDecoder. */
export function withoutTextDecoder(run: () => void): void {
  const hidden = globalThis.TextDecoder
  Reflect.deleteProperty(globalThis, 'TextDecoder')
  try {
    run()
  } finally {
    globalThis.TextDecoder = hidden
  }
}
