/**
 * The style sheets of a program.
 *
 * Laws: a page's sheet counts only while the page is on top, as each page is a window of its own in WeChat; of the colour scheme
 * the theme decides, not the browser.
 */

import type { Program } from '../program.js'

export interface Styles {
  /** Let the sheets of the components count, and of the pages this one's. */
  show(page: string): void
  theme(name: 'light' | 'dark'): void
}

const SCHEME = /\(\s*prefers-color-scheme\s*:\s*(light|dark)\s*\)/g
const TRUE = '(min-width: 0px)'
const FALSE = '(max-width: 0px)'

export function createStyles({ css, parts }: Program): Styles {
  const app = append(css)
  // A component's sheet comes after the app's, and a page's after its components'.
  const sorted = Object.entries(parts).sort(([, one], [, other]) => Number(one.isPage) - Number(other.isPage))
  const sheets = sorted.map(([path, part]) => ({ path, part, element: append(part.css) }))
  return {
    show(page) {
      for (const { path, part, element } of sheets) if (part.isPage && element.sheet) element.sheet.disabled = path !== page
    },
    theme(name) {
      const themed = (text: string) => text.replace(SCHEME, (_, wanted) => (wanted === name ? TRUE : FALSE))
      app.textContent = themed(css)
      for (const { part, element } of sheets) {
        const isDisabled = element.sheet?.disabled || false
        element.textContent = themed(part.css)
        if (element.sheet) element.sheet.disabled = isDisabled
      }
      document.documentElement.style.colorScheme = name
    },
  }
}

function append(css: string): HTMLStyleElement {
  const element = document.createElement('style')
  element.textContent = css
  document.head.append(element)
  return element
}
