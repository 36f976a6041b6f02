/** Runs a program in this document: fetches what was built of its folder, and starts it, or tells why it cannot be. */

import { wordsOf } from '../build/problems.js'
import { readParameters } from '../parameters.js'
import type { Program } from '../program.js'
import type { Session } from '../session.js'
import type { Preview } from './preview.js'
import { startProgram } from './start.js'
import './base.css'
import './overlays.css'

window.preview = boot()
// Whoever awaits it is told as well.
window.preview.catch((error: unknown) => showProblems(tellOf(error)))

async function boot(): Promise<Preview> {
  const parameters = readParameters(location.search)
  const session = await fetchJson<Session>('session.json')
  const name = parameters.app || session.apps[0] || ''
  const program = await fetchJson<Program>(`program.json?app=${encodeURIComponent(name)}`)
  const wrong = program.problems.filter(({ isError }) => isError)
  if (wrong.length) throw new Error(`${program.name} cannot be built:\n\n${wrong.map(wordsOf).join('\n')}`)
  const preview = startProgram(program, parameters, session)
  window.preview = preview
  return preview
}

async function fetchJson<T>(path: string): Promise<T> {
  const response = await fetch(path)
  if (!response.ok) throw new Error(await response.text())
  return (await response.json()) as T // our own server's
}

/** With the places in the program's own files. */
function tellOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const places = (error.stack || '').split('\n').filter((line) => line.includes('program/'))
  return [error.message, ...places].join('\n')
}

function showProblems(problems: string): void {
  const element = document.createElement('pre')
  element.className = 'preview-problems'
  element.textContent = problems
  document.body.append(element)
}
