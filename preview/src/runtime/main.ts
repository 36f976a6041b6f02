/** Runs a program in this document: fetches what was built of its folder, and puts the engine, `wx` and the pages together. */

import { glassEasel } from 'glass-easel-miniprogram-adapter'
import { type Parameters, readParameters } from '../parameters.js'
import type { Program } from '../program.js'
import type { Session } from '../session.js'
import { wordsOf } from '../build/problems.js'
import { createApplication, type LaunchOptions } from './app.js'
import { registerBuiltIns } from './builtin/register.js'
import { countSetData } from './counters.js'
import { createEngine } from './engine.js'
import { createKeyboard } from './keyboard.js'
import { runProgram } from './modules.js'
import { createNetwork } from './network.js'
import { createNotes } from './notes.js'
import { createPages, type Pages, queryOf } from './pages.js'
import type { Preview } from './preview.js'
import { watchPresses } from './presses.js'
import { extendQueries } from './queries.js'
import { createStyles } from './styles.js'
import { createWx } from './wx/index.js'
import { createDialogs } from './wx/dialogs.js'
import { type Bar, barOf, createNavigation } from './wx/navigation.js'
import { createStorage } from './wx/storage.js'
import { createSystem, type Phone, type Theme } from './wx/system.js'
import { PROFILES } from '../../../sdk/emulator/profiles.js'
import './base.css'

declare global {
  interface Window {
    preview: Promise<Preview> | Preview
  }
}

window.preview = boot().catch((error: unknown) => {
  showProblems([error instanceof Error ? error.message : String(error)])
  throw error
})

async function boot(): Promise<Preview> {
  const parameters = readParameters(location.search)
  const session = await fetchJson<Session>('session.json')
  const name = parameters.app || session.apps[0] || ''
  const program = await fetchJson<Program>(`program.json?app=${encodeURIComponent(name)}`)
  const wrong = program.problems.filter(({ isError }) => isError)
  if (wrong.length) throw new Error(`${program.name} cannot be built:\n\n${wrong.map(wordsOf).join('\n')}`)
  const preview = start(program, parameters, session)
  window.preview = preview
  return preview
}

async function fetchJson<T>(path: string): Promise<T> {
  const response = await fetch(path)
  if (!response.ok) throw new Error(await response.text())
  return (await response.json()) as T // our own server's
}

function start(program: Program, parameters: Parameters, session: Session): Preview {
  const notes = createNotes()
  watchErrors(notes.fail)
  const missing = new Set<string>()
  const profile = PROFILES[parameters.profile]
  const phone: Phone = { profile, theme: themeOf(program, parameters), isOnline: true, statusBarHeight: parameters.statusBar, safeBottom: parameters.safeBottom }
  document.documentElement.style.setProperty('--safe-area-inset-bottom', `${phone.safeBottom}px`)
  const host = document.createElement('div')
  host.className = 'preview-host'
  document.body.append(host)

  let setDataAt = performance.now()
  const counter = countSetData(() => {
    setDataAt = performance.now()
    notes.changed()
  })
  extendQueries()
  const styles = createStyles(program)
  styles.theme(phone.theme)
  const templates = new Function(`return ${program.templates}`)() as never
  const engine = createEngine(templates, watchPresses().tookTap)
  const network = createNetwork({
    address: new URL('wire', location.href.replace(/^http/, 'ws')).href, gateway: parameters.gateway === 'none' ? '' : parameters.gateway || session.gateway,
    profile: parameters.profile, seed: parameters.seed, timeScale: parameters.speed, link: { cut: parameters.cut }, onChange: notes.changed,
  })
  const system = createSystem(phone, program.app.darkmode, notes.note)
  const application = createApplication()
  let bar: Bar = barOf(program.app, {}, phone.theme, false)
  const changeBar = (change: Partial<Bar>) => {
    bar = { ...bar, ...change }
    notes.changed()
  }
  let pages: Pages
  const navigation = createNavigation(() => pages, changeBar)
  const storage = createStorage(program.name)
  if (parameters.fresh) storage.clearStorageSync()
  const url = parameters.page || program.app.pages[0] || ''
  const launch: LaunchOptions = launchOf(url)
  const wx = createWx({
    program, emulator: network.emulator, application, launch, pages: () => pages, login: () => logIn(parameters.user),
    onMissing: (missed) => void missing.add(missed), parts: [system.wx, navigation, storage, createDialogs(notes.note)],
  })
  const keyboard = createKeyboard(parameters.keyboard, host, system.tell.keyboard)
  registerBuiltIns(engine, {
    className: engine.className,
    fileUrl: (component, src) => fileUrl(program.name, component.ownerShadowRoot?.getHostNode().is || '', src),
    navigate: (api, option) => void (navigation as Record<string, (option: object) => unknown>)[api]?.({ ...option, fail: notes.fail }),
    focus: keyboard.focus,
  })
  pages = createPages({
    program, engine, styles, host, onError: notes.fail,
    onChange() {
      const top = pages.top()
      bar = barOf(program.app, program.parts[top?.route || '']?.config || {}, phone.theme, pages.stack.length > 1)
      notes.changed()
    },
  })
  runProgram(program, engine, { App: application.define, getApp: () => application.instance, getCurrentPages: () => pages.stack.map(({ caller }) => caller), wx })

  let isVisible = true
  function setVisible(value: boolean): void {
    if (isVisible === value) return
    isVisible = value
    if (value) network.emulator.show()
    else network.emulator.hide()
    if (value) application.tell('Show', launch)
    pages.setVisible(value)
    if (!value) application.tell('Hide', {})
    notes.changed()
  }
  function setOnline(value: boolean): void {
    phone.isOnline = value
    network.setOnline(value)
    system.tell.network()
    notes.changed()
  }
  function setTheme(theme: Theme): void {
    if (!program.app.darkmode || theme === phone.theme) return
    phone.theme = theme
    styles.theme(theme)
    const top = pages.top()
    const { title } = bar
    bar = { ...barOf(program.app, program.parts[top?.route || '']?.config || {}, theme, pages.stack.length > 1), title }
    system.tell.theme()
    application.tell('ThemeChange', { theme })
    notes.changed()
  }

  application.launch(launch)
  application.tell('Show', launch)
  pages.relaunch(`/${url.replace(/^\//, '')}`)

  return {
    ready: new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))),
    problems: program.problems, bytes: program.bytes, setData: counter, network: network.entries, notes: notes.entries, errors: notes.errors,
    get missing() {
      return [...missing]
    },
    bar: () => bar,
    routes: () => pages.stack.map(({ route }) => route),
    app: () => application.instance,
    page: () => pages.top()?.caller,
    data: () => structuredClone(pages.top()?.caller['data'] ?? {}) as Record<string, unknown>,
    async background(milliseconds) {
      setVisible(false)
      if (milliseconds === undefined) return
      await new Promise((resolve) => setTimeout(resolve, milliseconds))
      setVisible(true)
    },
    foreground: () => setVisible(true),
    isVisible: () => isVisible,
    offline: () => setOnline(false),
    online: () => setOnline(true),
    theme(theme) {
      if (theme) setTheme(theme)
      return phone.theme
    },
    keyboard: keyboard.set,
    back: () => pages.back(1),
    counts: () => ({ ...network.emulator.counts }),
    idle: (quiet = 200, timeout = 30_000) => until(() => !network.emulator.pending() && performance.now() - setDataAt > quiet, timeout, 'idle'),
    text: (part, timeout = 10_000) => until(() => (pages.top()?.element.innerText || '').includes(part), timeout, `text: ${part}`),
    watch: notes.watch,
  }
}

function themeOf({ app }: Program, { theme }: Parameters): Theme {
  if (!app.darkmode) return 'light'
  return theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')
}

function launchOf(url: string): LaunchOptions {
  const [path = '', search = ''] = url.replace(/^\//, '').split('?')
  // 1001: from the list of mini programs.
  return { path, query: queryOf(search), scene: 1001, shareTicket: undefined, referrerInfo: {} }
}

async function logIn(user: string): Promise<{ code: string }> {
  const response = await fetch('login', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ user }) })
  if (!response.ok) throw new Error(await response.text())
  return (await response.json()) as { code: string }
}

function fileUrl(name: string, part: string, src: string): string {
  if (/^(https?:|data:|blob:)/.test(src)) return src
  const path = src.startsWith('/') ? src : new URL(src, `http://program/${part}`).pathname
  return `files/${encodeURIComponent(name)}${path}`
}

function watchErrors(fail: (error: unknown) => void): void {
  glassEasel.addGlobalErrorListener((error) => {
    fail(error)
    return false // it is told once, above
  })
  addEventListener('error', ({ error, message }) => fail(error || message))
  addEventListener('unhandledrejection', ({ reason }) => fail(reason))
}

async function until(isSo: () => boolean, timeout: number, what: string): Promise<void> {
  const end = performance.now() + timeout
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`preview: after ${timeout} ms still not: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

function showProblems(problems: string[]): void {
  const element = document.createElement('pre')
  element.className = 'preview-problems'
  element.textContent = problems.join('\n')
  document.body.append(element)
}
