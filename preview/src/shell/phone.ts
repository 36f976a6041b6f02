/** The phone around the program: status bar, navigation bar with the capsule, the window, and the bar at the bottom. */

import type { Tab } from '../runtime/tabs.js'
import type { Preview } from '../runtime/preview.js'
import { element } from './dom.js'
import { word } from './words.js'

export interface Phone {
  /** Load the program, with what the address says. */
  load(search: string): Promise<Preview>
}

export interface PhoneOptions {
  app: string
  profile: string
  /** The phone alone, as large as the window. */
  isBare: boolean
}

const SIZES: readonly [RegExp, number, number][] = [
  [/^ios/, 390, 844],
  [/^pc$/, 414, 736],
  [/^devtools$/, 375, 812],
  [/./, 393, 852],
]

export function createPhone(host: HTMLElement, { app, profile, isBare }: PhoneOptions): Phone {
  const [, width, height] = SIZES.find(([pattern]) => pattern.test(profile)) as [RegExp, number, number] // the last fits all
  const isIos = profile.startsWith('ios')
  host.classList.toggle('bare', isBare)
  host.classList.toggle('ios', isIos)
  host.style.setProperty('--width', isBare ? '100vw' : `${width}px`)
  host.style.setProperty('--height', isBare ? '100vh' : `${height}px`)
  const title = element('div', { className: 'title' })
  const back = element('button', { className: 'back', ariaLabel: 'back' }, '‹')
  const capsule = element('div', { className: 'capsule', ariaHidden: 'true' }, element('i', {}, '•••'), element('i', {}, '◎'))
  const status = element(
    'div',
    { className: 'status', ariaHidden: 'true' },
    element('span', {}, '9:41'),
    element('span', { className: 'signal' }),
  )
  const bar = element('header', { className: 'bar' }, back, title)
  const frame = element('iframe', { title: 'program', className: 'window', allow: 'clipboard-write' })
  const veil = element('div', { className: 'veil', hidden: true }, word('hidden'))
  const home = element('div', { className: 'home', ariaHidden: 'true' })
  const tabs = element('nav', { className: 'tabs', hidden: true })
  host.replaceChildren(status, bar, capsule, frame, tabs, home, veil)

  function draw(preview: Preview): void {
    const { title: name, background, text, isCustom, canGoBack, tabs: items, tabsBackground } = preview.bar()
    tabs.hidden = !items.length
    tabs.style.background = tabsBackground
    tabs.replaceChildren(...items.map((tab) => tabButton(tab, app, () => preview.tab(tab.path))))
    title.textContent = name
    back.hidden = !canGoBack
    host.classList.toggle('custom', isCustom)
    host.classList.toggle('dark', preview.theme() === 'dark')
    // A custom bar is the program's: of its colour only the text's is known.
    host.style.setProperty('--bar', isCustom ? 'transparent' : background)
    host.style.setProperty('--bar-text', text)
    veil.hidden = preview.isVisible()
    frame.toggleAttribute('inert', !preview.isVisible())
  }

  return {
    async load(search) {
      const loaded = new Promise((resolve) => frame.addEventListener('load', resolve, { once: true }))
      frame.src = `program${search}`
      await loaded
      const preview = await (frame.contentWindow as Window).preview // same origin
      preview.watch(() => draw(preview))
      draw(preview)
      back.onclick = () => preview.back()
      return preview
    },
  }
}

function tabButton({ text, icon, color, isChosen, badge, hasDot }: Tab, app: string, onclick: () => void): HTMLElement {
  const content: (Node | string)[] = icon ? [element('img', { src: `files/${encodeURIComponent(app)}/${icon}`, alt: '' }), text] : [text]
  if (badge || hasDot) content.push(element('span', { className: badge ? 'badge' : 'badge dot' }, badge))
  const button = element('button', { onclick, ariaCurrent: isChosen ? 'page' : null }, ...content)
  button.style.color = color
  return button
}
