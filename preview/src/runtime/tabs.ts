/** The tabs below the window: what app.json says of them, and what the program changes by `wx.setTabBar…`. */

import { type AppConfig, colorOf } from '../program.js'
import { call } from './wx/calls.js'
import type { Theme } from './wx/system.js'

export interface Tab {
  text: string
  /** A page's route. */
  path: string
  /** Path of an image in the program's folder; '' for none. */
  icon: string
  /** What it is written in now: another colour where it is chosen. */
  color: string
  isChosen: boolean
  /** What stands in red beside its icon; '' for nothing. */
  badge: string
  hasDot: boolean
}

export interface Tabs {
  /** On a page that is none of them, or while the program hides them: none. */
  of(route: string, theme: Theme): Tab[]
  background(theme: Theme): string
  wx: Record<string, unknown>
}

interface Change {
  text?: string
  iconPath?: string
  selectedIconPath?: string
  badge?: string
  hasDot?: boolean
}
interface Style {
  color?: string
  selectedColor?: string
  backgroundColor?: string
}

// What a badge has room for; WeChat writes … for the rest.
const MOST_BADGE = 4

/** @param route of the page on top; '' before there is one. */
export function createTabs(app: AppConfig, route: () => string, changed: () => void): Tabs {
  const list = app.tabBar?.list || []
  const changes = new Map<number, Change>()
  let style: Style = { ...app.tabBar }
  let isHidden = false

  /** A function of `wx` that changes what is drawn, on a page that is a tab, or before there is a page. */
  function changing<Option extends object>(name: string, change: (option: Option) => void) {
    return call(name, (option: Option) => {
      if (route() && !list.some(({ pagePath }) => pagePath === route())) throw new Error('not TabBar page')
      change(option)
      changed()
    })
  }

  function mark({ index }: { index: number }, change: Change): void {
    if (!list[index]) throw new Error('tabbar item not found')
    changes.set(index, { ...changes.get(index), ...change })
  }

  return {
    background: (theme) => colorOf(app, theme, style.backgroundColor, ''),
    of(on, theme) {
      if (isHidden || !list.some(({ pagePath }) => pagePath === on)) return []
      return list.map((item, index) => {
        const { text, pagePath, iconPath, selectedIconPath, badge = '', hasDot = false } = { ...item, ...changes.get(index) }
        const isChosen = pagePath === on
        const icon = ((isChosen && selectedIconPath) || iconPath || '').replace(/^\//, '')
        const color = colorOf(app, theme, isChosen ? style.selectedColor : style.color, 'inherit')
        return { text, path: pagePath, icon, color, isChosen, badge, hasDot }
      })
    },
    wx: {
      setTabBarBadge: changing('setTabBarBadge', (option: { index: number; text: string }) =>
        mark(option, { badge: option.text.length > MOST_BADGE ? '…' : option.text, hasDot: false }),
      ),
      removeTabBarBadge: changing('removeTabBarBadge', (option: { index: number }) => mark(option, { badge: '' })),
      showTabBarRedDot: changing('showTabBarRedDot', (option: { index: number }) => mark(option, { badge: '', hasDot: true })),
      hideTabBarRedDot: changing('hideTabBarRedDot', (option: { index: number }) => mark(option, { hasDot: false })),
      setTabBarItem: changing('setTabBarItem', ({ index, text, iconPath, selectedIconPath }: { index: number } & Change) =>
        mark({ index }, { ...(text && { text }), ...(iconPath && { iconPath }), ...(selectedIconPath && { selectedIconPath }) }),
      ),
      setTabBarStyle: changing('setTabBarStyle', (option: Style) => void (style = { ...style, ...option })),
      showTabBar: changing('showTabBar', () => void (isHidden = false)),
      hideTabBar: changing('hideTabBar', () => void (isHidden = true)),
    },
  }
}
