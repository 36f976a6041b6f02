/** `wx.navigateTo` and its kin, and the bar above the page. */

import type { Bar } from '../bar.js'
import type { Pages } from '../pages.js'
import { call } from './calls.js'

interface Url {
  url: string
  events?: Record<string, (value: unknown) => void>
}

export function createNavigation(pages: Pages, changeBar: (change: Partial<Bar>) => void) {
  return {
    navigateTo: call('navigateTo', ({ url, events = {} }: Url) => {
      const channel = createChannel()
      Object.entries(events).forEach(([name, listener]) => channel.opener.on(name, listener))
      const page = pages.open(url)
      page.caller['getOpenerEventChannel'] = () => channel.opened
      return { eventChannel: channel.opener }
    }),
    redirectTo: call('redirectTo', ({ url }: Url) => void pages.redirect(url)),
    navigateBack: call('navigateBack', ({ delta = 1 }: { delta?: number }) => pages.back(delta)),
    reLaunch: call('reLaunch', ({ url }: Url) => void pages.relaunch(url)),
    switchTab: call('switchTab', ({ url }: Url) => void pages.switchTab(url)),
    setNavigationBarTitle: call('setNavigationBarTitle', ({ title }: { title: string }) => changeBar({ title })),
    setNavigationBarColor: call(
      'setNavigationBarColor',
      ({ frontColor, backgroundColor }: { frontColor: string; backgroundColor: string }) =>
        changeBar({ background: backgroundColor, text: frontColor === '#000000' ? 'black' : 'white' }),
    ),
    showNavigationBarLoading: call('showNavigationBarLoading', () => changeBar({ isLoading: true })),
    hideNavigationBarLoading: call('hideNavigationBarLoading', () => changeBar({ isLoading: false })),
    setBackgroundColor: call('setBackgroundColor', ({ backgroundColor }: { backgroundColor?: string }) => {
      if (backgroundColor) document.body.style.background = backgroundColor
    }),
    setBackgroundTextStyle: call('setBackgroundTextStyle', () => undefined),
    pageScrollTo: call('pageScrollTo', ({ scrollTop = 0, duration = 300 }: { scrollTop?: number; duration?: number }) =>
      scrollTo({ top: scrollTop, behavior: duration ? 'smooth' : 'instant' }),
    ),
    startPullDownRefresh: call('startPullDownRefresh', () => {
      const top = pages.top()
      if (top) pages.call(top, 'onPullDownRefresh')
    }),
    stopPullDownRefresh: call('stopPullDownRefresh', () => undefined),
  }
}

type Listener = (...values: unknown[]) => void

/** The two ends of what a page and the page that it opened say to each other. */
function createChannel() {
  const sides = [new Map<string, Set<Listener>>(), new Map<string, Set<Listener>>()] as const
  const end = (own: Map<string, Set<Listener>>, other: Map<string, Set<Listener>>) => ({
    on: (name: string, listener: Listener) => void own.set(name, (own.get(name) || new Set()).add(listener)),
    off: (name: string, listener?: Listener) => (listener ? void own.get(name)?.delete(listener) : void own.delete(name)),
    once(name: string, listener: Listener) {
      const wrapped = (...values: unknown[]) => (this.off(name, wrapped), listener(...values))
      this.on(name, wrapped)
    },
    emit: (name: string, ...values: unknown[]) => other.get(name)?.forEach((listener) => listener(...values)),
  })
  return { opener: end(sides[0], sides[1]), opened: end(sides[1], sides[0]) }
}
