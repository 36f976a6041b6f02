/** Puts a program, the engine, `wx` and the pages together, and gives `window.preview`. */

import { glassEasel } from 'glass-easel-miniprogram-adapter'
import { wordsOf } from '../build/problems.js'
import { PROFILES } from '../../../sdk/emulator/profiles.js'
import type { Parameters } from '../parameters.js'
import type { Program } from '../program.js'
import type { Session } from '../session.js'
import { type Application, createApplication, type LaunchOptions } from './app.js'
import { type BarKeeper, createBar } from './bar.js'
import { registerBuiltIns } from './builtin/register.js'
import { countSetData, type SetDataCounter } from './counters.js'
import { type Course, createCourse } from './course.js'
import { mendObservers } from './crossings.js'
import { describe } from './descriptors.js'
import { createEngine } from './engine.js'
import { createKeyboard, type Keyboard } from './keyboard.js'
import { runProgram } from './modules.js'
import { createNetwork, type Network } from './network.js'
import { createNotes, type Notes } from './notes.js'
import { createPages, type Pages, queryOf } from './pages.js'
import { watchPresses } from './presses.js'
import type { Preview } from './preview.js'
import { extendQueries } from './queries.js'
import { createStyles } from './styles.js'
import { createDialogs } from './wx/dialogs.js'
import { createWx } from './wx/index.js'
import { createNavigation } from './wx/navigation.js'
import { createStorage } from './wx/storage.js'
import { createSystem, type Phone, type Theme } from './wx/system.js'

export function startProgram(program: Program, parameters: Parameters, session: Session): Preview {
  const notes = createNotes()
  watchErrors(notes)
  for (const problem of program.problems) notes.note('warning', wordsOf(problem))
  extendQueries()
  mendObservers()
  const phone = phoneOf(program, parameters)
  const host = createHost(phone)
  const missing = new Set<string>()
  const counter = countSetData(notes.changed)
  const styles = createStyles(program)
  styles.theme(phone.theme)
  // The builder's own expression.
  const engine = createEngine(new Function('describe', `return ${program.templates}`)(describe) as never, watchPresses().tookTap)
  const network = createNetwork({
    address: new URL('wire', location.href.replace(/^http/, 'ws')).href,
    gateway: parameters.gateway === 'none' ? '' : parameters.gateway || session.gateway,
    profile: parameters.profile,
    seed: parameters.seed,
    timeScale: parameters.speed,
    link: { cut: parameters.cut },
    onChange: notes.changed,
  })
  const bar = createBar(program, phone, notes.changed)
  const pages: Pages = createPages({
    program,
    engine,
    styles,
    host,
    onError: notes.fail,
    onTop: (page) => bar.enter(page, pages.stack.length > 1),
  })
  const system = createSystem(phone, program.app.darkmode, notes.note)
  const keyboard = createKeyboard(parameters.keyboard, host, system.tell.keyboard)
  const navigation = createNavigation(pages, bar.change)
  const storage = createStorage(program.name)
  if (parameters.fresh) storage.clearStorageSync()
  const application = createApplication(notes.fail)
  const launch = launchOf(parameters.page || program.app.pages[0] || '')
  const wx = createWx({
    program,
    emulator: network.emulator,
    application,
    launch,
    pages,
    login: () => logIn(parameters.user),
    onMissing: (name) => void missing.add(name),
    parts: [system.wx, bar.wx, navigation, storage, createDialogs(notes.note, (src) => fileUrl(program.name, '', src))],
  })
  registerBuiltIns(engine, {
    className: engine.className,
    focus: keyboard.focus,
    missing: (name) => void missing.add(name),
    share(button) {
      const page = pages.top()
      const target = { id: button.id, dataset: button.dataset }
      if (page) notes.note('share', { title: bar.now().title, path: page.route, ...(pages.call(page, 'onShareAppMessage', { from: 'button', target }) as object) })
    },
    fileUrl: (component, src) => fileUrl(program.name, component.ownerShadowRoot?.getHostNode().is || '', src),
    navigate: (api, option) => void (navigation as Record<string, (option: object) => unknown>)[api]?.({ ...option, fail: notes.fail }),
  })
  const course = createCourse({
    application,
    launch,
    pages,
    network,
    styles,
    bar,
    phone,
    hasDarkMode: program.app.darkmode,
    tell: system.tell,
    changed: notes.changed,
  })

  runProgram(program, engine, {
    App: application.define,
    getApp: () => application.instance,
    getCurrentPages: () => pages.stack.map(({ caller }) => caller),
    wx,
  })
  application.launch(launch)
  application.tell('Show', launch)
  pages.relaunch(`/${parameters.page || launch.path}`)

  return {
    ...handOn({ application, bar, course, counter, keyboard, network, notes, pages, phone }),
    problems: program.problems,
    bytes: program.bytes,
    get missing() {
      return [...missing]
    },
  }
}

interface Running {
  application: Application
  bar: BarKeeper
  course: Course
  counter: SetDataCounter
  keyboard: Keyboard
  network: Network
  notes: Notes
  pages: Pages
  phone: Phone
}

/** The hand that the frame and tests have on what runs. */
function handOn({
  application,
  bar,
  course,
  counter,
  keyboard,
  network,
  notes,
  pages,
  phone,
}: Running): Omit<Preview, 'problems' | 'bytes' | 'missing'> {
  return {
    ready: new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))),
    setData: counter,
    network: network.entries,
    notes: notes.entries,
    errors: notes.errors,
    bar: bar.now,
    routes: () => pages.stack.map(({ route }) => route),
    app: () => application.instance,
    page: () => pages.top()?.caller,
    data: () => structuredClone(pages.top()?.caller['data'] ?? {}) as Record<string, unknown>,
    async background(milliseconds) {
      course.setVisible(false)
      if (milliseconds === undefined) return
      await new Promise((resolve) => setTimeout(resolve, milliseconds))
      course.setVisible(true)
    },
    foreground: () => course.setVisible(true),
    isVisible: course.isVisible,
    offline: () => course.setOnline(false),
    online: () => course.setOnline(true),
    theme(theme) {
      if (theme) course.setTheme(theme)
      return phone.theme
    },
    keyboard: keyboard.set,
    back: () => pages.back(1),
    tab(path) {
      const tabs = bar.now().tabs
      const page = pages.switchTab(`/${path}`)
      pages.call(page, 'onTabItemTap', {
        index: tabs.findIndex((tab) => tab.path === path),
        pagePath: path,
        text: tabs.find((tab) => tab.path === path)?.text,
      })
    },
    counts: () => ({ ...network.emulator.counts }),
    idle: (quiet = 200, timeout = 30_000) => until(() => !network.emulator.pending() && counter.quiet() > quiet, timeout, 'idle'),
    text: (part, timeout = 10_000) => until(() => (pages.top()?.element.innerText || '').includes(part), timeout, `text: ${part}`),
    watch: notes.watch,
  }
}

function phoneOf(program: Program, parameters: Parameters): Phone {
  const { statusBar, safeBottom, profile } = parameters
  return {
    profile: PROFILES[profile],
    theme: themeOf(program, parameters),
    isOnline: true,
    hasBar: true,
    statusBarHeight: statusBar,
    safeBottom,
  }
}

function createHost({ safeBottom }: Phone): HTMLElement {
  document.documentElement.style.setProperty('--safe-area-inset-bottom', `${safeBottom}px`)
  const host = document.createElement('div')
  host.className = 'preview-host'
  document.body.append(host)
  return host
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

function watchErrors({ fail, note }: Notes): void {
  const told = new Set<string>()
  glassEasel.addGlobalWarningListener((message) => {
    // What is so in a list is so of each of its items, and each time.
    if (!told.has(message)) note('warning', message)
    told.add(message)
    return true // it is told on the console as well
  })
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
