/** The bar above the window: what app.json and the page's json say of it, and what the program changes. */

import { type AppConfig, colorOf, type Config, type Program } from '../program.js'
import type { Page } from './pages.js'
import { createTabs, type Tab } from './tabs.js'
import type { Phone, Theme } from './wx/system.js'

/** What the frame draws. */
export interface Bar {
  title: string
  background: string
  text: 'black' | 'white'
  /** The program draws it itself, and its window is the whole screen. */
  isCustom: boolean
  isLoading: boolean
  canGoBack: boolean
  /** Below the window, on a page that is one of them. */
  tabs: Tab[]
  tabsBackground: string
}

export interface BarKeeper {
  now(): Bar
  /** Another page is on top. */
  enter(page: Page, canGoBack: boolean): void
  change(change: Partial<Bar>): void
  /** The theme is another; what a program has written as title stands. */
  retheme(): void
  /** The calls of `wx` that change the tabs. */
  wx: Record<string, unknown>
}

export function createBar({ app, parts }: Program, phone: Phone, changed: () => void): BarKeeper {
  let bar: Bar = { ...barOf(app, {}, phone.theme), canGoBack: false, tabs: [], tabsBackground: '' }
  let top: Page | undefined
  const route = () => top?.route || ''
  const tabs = createTabs(app, route, () => set({ ...bar, ...tabsNow() }))
  const tabsNow = () => ({ tabs: tabs.of(route(), phone.theme), tabsBackground: tabs.background(phone.theme) })
  const told = () => ({
    ...barOf(app, parts[route()]?.config || {}, phone.theme),
    canGoBack: bar.canGoBack,
    ...tabsNow(),
  })

  function set(value: Bar): void {
    bar = value
    phone.hasBar = !bar.isCustom
    changed()
  }

  return {
    now: () => bar,
    enter(page, canGoBack) {
      top = page
      set({ ...told(), canGoBack })
    },
    change: (change) => set({ ...bar, ...change }),
    retheme: () => set({ ...told(), title: bar.title }),
    wx: tabs.wx,
  }
}

type Told = Omit<Bar, 'canGoBack' | 'tabs' | 'tabsBackground'>

function barOf(app: AppConfig, config: Config, theme: Theme): Told {
  const told: Config = { ...app.window, ...config }
  return {
    title: told.navigationBarTitleText || '',
    background: colorOf(app, theme, told.navigationBarBackgroundColor, '#000000'),
    text: colorOf(app, theme, told.navigationBarTextStyle, 'white') === 'black' ? 'black' : 'white',
    isCustom: told.navigationStyle === 'custom',
    isLoading: false,
  }
}
