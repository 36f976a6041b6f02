/** The panel beside the phone: what is emulated, what may happen to it, and what has happened. */

import type { Preview } from '../runtime/preview.js'
import type { Session } from '../session.js'
import { PROFILES } from '../../../sdk/emulator/profiles.js'
import { element } from './dom.js'
import { createLog } from './log.js'
import { type Word, word } from './words.js'

const LOCK_MILLISECONDS = 10_000 // of the emulator's clock
const CUTS = ['none', 'bytes', 'random', 'glued']
const SPEEDS = ['1', '5', '20']

export interface PanelOptions {
  session: Session
  search: URLSearchParams
  preview: Preview
  /** Load anew with the parameters as they are now. */
  restart(): void
}

export function drawPanel(host: HTMLElement, { session, search, preview, restart }: PanelOptions): void {
  const choice = (name: 'app' | 'profile' | 'cut' | 'speed', all: readonly string[]) => {
    const select = element('select', { id: name }, ...all.map((value) => element('option', { value }, value)))
    select.value = search.get(name) || all[0] || ''
    select.onchange = () => {
      search.set(name, select.value)
      restart()
    }
    return element('label', {}, word(name), select)
  }
  const user = element('input', { id: 'user', value: search.get('user') || 'developer' })
  user.onchange = () => {
    search.set('user', user.value)
    restart()
  }
  const settings = element(
    'div',
    { className: 'settings' },
    choice('app', session.apps),
    choice('profile', Object.keys(PROFILES)),
    choice('cut', CUTS),
    choice('speed', SPEEDS),
    element('label', {}, word('user'), user),
  )
  const actions = element('div', { className: 'actions' }, ...buttons(preview, search, restart))
  const log = createLog(preview)
  host.replaceChildren(settings, actions, log)
  host.hidden = false
}

function buttons(preview: Preview, search: URLSearchParams, restart: () => void): HTMLElement[] {
  let isOnline = true
  let isKeyboardUp = false
  const button = (name: Word, act: (self: HTMLButtonElement) => void) => {
    const made = element('button', { id: name }, word(name))
    made.onclick = () => act(made)
    return made
  }
  const visible = button('background', () => (preview.isVisible() ? void preview.background() : preview.foreground()))
  const theme = button('dark', () => preview.theme(preview.theme() === 'dark' ? 'light' : 'dark'))
  preview.watch(() => {
    visible.textContent = word(preview.isVisible() ? 'background' : 'foreground')
    theme.textContent = word(preview.theme() === 'dark' ? 'light' : 'dark')
  })
  theme.textContent = word(preview.theme() === 'dark' ? 'light' : 'dark')
  return [
    visible,
    button('lock', () => void preview.background(LOCK_MILLISECONDS / Number(search.get('speed') || 1))),
    button('offline', (self) => {
      isOnline = !isOnline
      if (isOnline) preview.online()
      else preview.offline()
      self.textContent = word(isOnline ? 'offline' : 'online')
    }),
    theme,
    button('keyboard', () => {
      isKeyboardUp = !isKeyboardUp
      preview.keyboard(isKeyboardUp ? 291 : 0)
    }),
    button('restart', restart),
    button('clear', () => {
      search.set('fresh', '1')
      restart()
    }),
  ]
}
