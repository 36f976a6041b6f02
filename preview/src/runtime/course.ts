/** What befalls a program while it runs: it goes to the background and comes back, loses the network, and its theme changes. */

import type { Application, LaunchOptions } from './app.js'
import type { BarKeeper } from './bar.js'
import type { Network } from './network.js'
import type { Pages } from './pages.js'
import type { Styles } from './styles.js'
import type { Phone, Theme } from './wx/system.js'

export interface Course {
  isVisible(): boolean
  setVisible(isVisible: boolean): void
  setOnline(isOnline: boolean): void
  /** Without `darkmode` in app.json a program is light, whatever the phone is. */
  setTheme(theme: Theme): void
}

export interface CourseOptions {
  application: Application
  launch: LaunchOptions
  pages: Pages
  network: Network
  styles: Styles
  bar: BarKeeper
  phone: Phone
  hasDarkMode: boolean
  /** Tell who listens by `wx.on…`. */
  tell: { theme(): void; network(): void }
  changed(): void
}

export function createCourse({
  application,
  launch,
  pages,
  network,
  styles,
  bar,
  phone,
  hasDarkMode,
  tell,
  changed,
}: CourseOptions): Course {
  let isVisible = true
  return {
    isVisible: () => isVisible,
    setVisible(value) {
      if (isVisible === value) return
      isVisible = value
      // The app first when it comes, the page first when it goes.
      if (value) {
        network.emulator.show()
        application.tell('Show', launch)
        pages.setVisible(true)
      } else {
        network.emulator.hide()
        pages.setVisible(false)
        application.tell('Hide', {})
      }
      changed()
    },
    setOnline(value) {
      phone.isOnline = value
      network.setOnline(value)
      tell.network()
      changed()
    },
    setTheme(theme) {
      if (!hasDarkMode || theme === phone.theme) return
      phone.theme = theme
      styles.theme(theme)
      pages.repaint()
      bar.retheme()
      tell.theme()
      application.tell('ThemeChange', { theme })
      changed()
    },
  }
}
