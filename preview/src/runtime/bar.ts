/** The bar above the window: what app.json and the page's json say of it, and what the program changes. */

import type { AppConfig, Config, Program } from '../program.js'
import type { Page } from './pages.js'
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
}

export interface Tab {
  text: string
  /** A page's route. */
  path: string
  /** Path of an image in the program's folder; '' for none. */
  icon: string
  /** What it is written in now: another colour where it is chosen. */
  color: string
  isChosen: boolean
}

export interface BarKeeper {
  now(): Bar
  /** Another page is on top. */
  enter(page: Page, canGoBack: boolean): void
  change(change: Partial<Bar>): void
  /** The theme is another; what a program has written as title stands. */
  retheme(): void
}

export function createBar({ app, parts }: Program, phone: Phone, changed: () => void): BarKeeper {
  let bar: Bar = { ...barOf(app, {}, phone.theme), canGoBack: false, tabs: [] }
  let top: Page | undefined
  const told = () => ({
    ...barOf(app, parts[top?.route || '']?.config || {}, phone.theme),
    canGoBack: bar.canGoBack,
    tabs: tabsOf(app, top?.route || '', phone.theme),
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
  }
}

type Told = Omit<Bar, 'canGoBack' | 'tabs'>

function barOf(app: AppConfig, config: Config, theme: Theme): Told {
  const told: Config = { ...app.window, ...config }
  return {
    title: told.navigationBarTitleText || '',
    background: named(app, theme, told.navigationBarBackgroundColor, '#000000'),
    text: named(app, theme, told.navigationBarTextStyle, 'white') === 'black' ? 'black' : 'white',
    isCustom: told.navigationStyle === 'custom',
    isLoading: false,
  }
}

function tabsOf(app: AppConfig, route: string, theme: Theme): Tab[] {
  const { list = [], color, selectedColor } = app.tabBar || {}
  if (!list.some(({ pagePath }) => pagePath === route)) return []
  return list.map(({ text, pagePath, iconPath, selectedIconPath }) => {
    const isChosen = pagePath === route
    return {
      text,
      path: pagePath,
      icon: (isChosen && selectedIconPath) || iconPath || '',
      color: named(app, theme, isChosen ? selectedColor : color, 'inherit'),
      isChosen,
    }
  })
}

/** `@name` is of theme.json. */
function named({ themes }: AppConfig, theme: Theme, value: string | undefined, otherwise: string): string {
  return (value?.startsWith('@') ? themes[theme][value.slice(1)] : value) || otherwise
}
