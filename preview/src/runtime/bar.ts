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
  let bar = barOf(app, {}, phone.theme, false)
  let top: Page | undefined
  const told = () => barOf(app, parts[top?.route || '']?.config || {}, phone.theme, bar.canGoBack)

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

function barOf(app: AppConfig, config: Config, theme: Theme, canGoBack: boolean): Bar {
  const told: Config = { ...app.window, ...config }
  // `@name` is of theme.json.
  const named = (value: string | undefined, otherwise: string) => (value?.startsWith('@') ? app.themes[theme][value.slice(1)] : value) || otherwise
  return {
    title: told.navigationBarTitleText || '', background: named(told.navigationBarBackgroundColor, '#000000'),
    text: named(told.navigationBarTextStyle, 'white') === 'black' ? 'black' : 'white', isCustom: told.navigationStyle === 'custom', isLoading: false, canGoBack,
  }
}
