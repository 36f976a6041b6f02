/** `wx.navigateTo` and its kin, and the bar above the page. */

import type { Bar } from '../bar.js'
import type { Listener } from '../channel.js'
import type { Pages } from '../pages.js'
import { call } from './calls.js'

interface Url {
  url: string
  events?: Record<string, Listener>
}

export function createNavigation(pages: Pages, changeBar: (change: Partial<Bar>) => void) {
  return {
    navigateTo: call('navigateTo', ({ url, events = {} }: Url) => ({ eventChannel: pages.open(url, events).channel.opener })),
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
