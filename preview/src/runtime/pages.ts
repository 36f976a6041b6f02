/**
 * The stack of pages, and what is called on them when.
 *
 * Laws: `onLoad`, `onShow`, `onReady` in that order, `onHide` for what is covered, `onUnload` for what is closed; at most ten.
 */

import type { Root } from 'glass-easel-miniprogram-adapter'
import type { Program } from '../program.js'
import { type Channel, createChannel, type Listener } from './channel.js'
import type { Caller, Component, Engine } from './engine.js'
import type { Styles } from './styles.js'

const MOST_PAGES = 10
// Of `onReachBottomDistance`, where nothing is said.
const REACH_PIXELS = 50

export interface Page {
  route: string
  query: Record<string, string>
  caller: Caller
  root: Root
  /** Holds its elements. */
  element: HTMLElement
  /** To the page that opened it. */
  channel: Channel
  /** How far it was scrolled when it was covered, CSS pixels. */
  scrolled: number
}

export interface Pages {
  stack: readonly Page[]
  top(): Page | undefined
  /** Navigate; throws an `Error` whose message is WeChat's. `events` are listened to for the page that opens the other. */
  open(url: string, events?: Record<string, Listener>): Page
  redirect(url: string): Page
  back(delta: number): void
  relaunch(url: string): Page
  switchTab(url: string): Page
  /** Of the whole program, which goes or comes. */
  setVisible(isVisible: boolean): void
  /** The styles are others: what stands behind the page follows. */
  repaint(): void
  /** Call a page's method, if it has it. */
  call(page: Page, name: string, ...values: unknown[]): unknown
}

export interface PagesOptions {
  program: Program
  engine: Engine
  styles: Styles
  host: HTMLElement
  /** Another page is on top. */
  onTop(page: Page): void
  onError(error: unknown): void
}

export function createPages({ program, engine, styles, host, onTop, onError }: PagesOptions): Pages {
  const stack: Page[] = []
  const kept = new Map<string, Page>() // tabs that were opened
  const tabs = (program.app.tabBar?.list || []).map(({ pagePath }) => pagePath)
  let isVisible = true

  function call(page: Page, name: string, ...values: unknown[]): unknown {
    try {
      return typeof page.caller[name] === 'function' ? page.caller[name](...values) : undefined
    } catch (error) {
      return onError(error)
    }
  }

  function create(url: string, events: Record<string, Listener>): Page {
    const [path = '', search = ''] = url.split('?')
    const query = queryOf(search)
    const element = document.createElement('div')
    element.className = 'preview-page'
    host.append(element)
    const root = engine.createPage(url)
    const channel = createChannel()
    for (const [name, listener] of Object.entries(events)) channel.opener.on(name, listener)
    const page: Page = { route: path, query, root, element, channel, scrolled: 0, caller: root.get() as unknown as Caller }
    Object.assign(page.caller, { route: path, options: query, getOpenerEventChannel: () => channel.opened })
    // On the stack before its components are attached, for they look for it.
    stack.push(page)
    const placeholder = document.createElement('div')
    element.append(placeholder)
    root.attach(element as never, placeholder as never) // the engine's own words for elements
    return page
  }

  function load(url: string, events: Record<string, Listener> = {}): Page {
    const top = create(url, events)
    call(top, 'onLoad', top.query)
    show(top)
    requestAnimationFrame(() => {
      if (stack.includes(top)) call(top, 'onReady')
    })
    return top
  }

  function show(page: Page): void {
    styles.show(page.route)
    for (const { element } of stack) element.hidden = element !== page.element
    for (const { element } of kept.values()) element.hidden = element !== page.element
    paintBackground(page)
    scrollTo({ top: page.scrolled, behavior: 'instant' })
    onTop(page)
    if (!isVisible) return
    call(page, 'onShow')
    lifetime(page.root.getComponent(), 'show')
  }

  function hide(page: Page | undefined): void {
    if (!page || !isVisible) return
    page.scrolled = scrollY
    call(page, 'onHide')
    lifetime(page.root.getComponent(), 'hide')
  }

  function close(page: Page | undefined): void {
    if (!page) return
    call(page, 'onUnload')
    page.root.release()
    page.element.remove()
    kept.delete(page.route)
  }

  function lifetime(component: Component, name: string): void {
    component.triggerPageLifetime(name, [])
  }

  /** The page's route, if there is such a page. */
  function check(api: string, url: string): string {
    const [path = '', search] = resolve(url, stack.at(-1)?.route || '').split('?')
    if (!program.app.pages.includes(path)) throw new Error(`${api}:fail page "${path}${search ? `?${search}` : ''}" is not found`)
    return search ? `${path}?${search}` : path
  }

  function isTab(url: string): boolean {
    return tabs.includes(url.split('?')[0] || '')
  }

  let wasAtBottom = false
  addEventListener('scroll', () => {
    const top = stack.at(-1)
    if (!top) return
    call(top, 'onPageScroll', { scrollTop: scrollY })
    const { onReachBottomDistance = REACH_PIXELS } = { ...program.app.window, ...program.parts[top.route]?.config }
    const isAtBottom = scrollY + innerHeight >= document.documentElement.scrollHeight - onReachBottomDistance
    if (isAtBottom && !wasAtBottom) call(top, 'onReachBottom')
    wasAtBottom = isAtBottom
  })

  return {
    stack,
    call,
    top: () => stack.at(-1),
    open(url, events) {
      const target = check('navigateTo', url)
      if (isTab(target)) throw new Error(`navigateTo:fail can not navigateTo a tabbar page`)
      if (stack.length >= MOST_PAGES) throw new Error('navigateTo:fail webview count limit exceed')
      hide(stack.at(-1))
      return load(target, events)
    },
    redirect(url) {
      const target = check('redirectTo', url)
      if (isTab(target)) throw new Error('redirectTo:fail can not redirectTo a tabbar page')
      close(stack.pop())
      return load(target)
    },
    back(delta) {
      if (stack.length < 2) throw new Error('navigateBack:fail cannot navigate back at first page.')
      for (let left = Math.min(delta, stack.length - 1); left > 0; left -= 1) close(stack.pop())
      const top = stack.at(-1)
      if (top) show(top)
    },
    relaunch(url) {
      const target = url ? check('reLaunch', url) : program.app.pages[0] || ''
      while (stack.length) close(stack.pop())
      for (const page of [...kept.values()]) close(page)
      const page = load(target)
      if (isTab(target)) kept.set(page.route, page)
      return page
    },
    switchTab(url) {
      const target = check('switchTab', url).split('?')[0] || ''
      if (!tabs.includes(target)) throw new Error('switchTab:fail can not switch to no-tabBar page')
      while (stack.length > 1) close(stack.pop())
      const left = stack.pop()
      if (left?.route === target) {
        stack.push(left)
        return left
      }
      hide(left)
      if (left && !tabs.includes(left.route)) close(left)
      const page = kept.get(target)
      if (!page) {
        const made = load(target)
        kept.set(target, made)
        return made
      }
      stack.push(page)
      show(page)
      return page
    },
    repaint() {
      const top = stack.at(-1)
      if (top) paintBackground(top)
    },
    setVisible(value) {
      const top = stack.at(-1)
      if (top && !value) hide(top)
      isVisible = value
      if (top && value) {
        call(top, 'onShow')
        lifetime(top.root.getComponent(), 'show')
      }
    },
  }
}

/** As it is written: what a program has encoded, it decodes. */
export function queryOf(search: string): Record<string, string> {
  const pairs = search
    .split('&')
    .filter(Boolean)
    .map((pair) => pair.split('='))
  return Object.fromEntries(pairs.map(([name = '', ...value]) => [name, value.join('=')]))
}

function resolve(url: string, route: string): string {
  const [path = '', search] = url.split('?')
  const { pathname } = new URL(path, `http://program/${route}`)
  return pathname.slice(1) + (search === undefined ? '' : `?${search}`)
}

/** WeChat's `page` is the whole window: what it is painted with shows where the page ends. */
function paintBackground({ element }: Page): void {
  const page = element.querySelector('wx-page')
  document.body.style.background = page ? getComputedStyle(page).background : ''
}
