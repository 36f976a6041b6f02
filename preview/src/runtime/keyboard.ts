/** A keyboard that comes up below a field: who listens is told how high it is, and the page makes way for it. */

import type { Self } from './builtin/definition.js'

export const KEYBOARD_HEIGHT = 291

export interface Keyboard {
  /** Show it so high, or hide it at 0. */
  set(height: number): void
  focus(field: Self, isFocused: boolean): void
}

/** @param comesByItself whether it comes up when a field has the focus. */
export function createKeyboard(comesByItself: boolean, host: HTMLElement, tell: (height: number) => void): Keyboard {
  let field: Self | undefined
  let height = 0
  let drawn: HTMLElement | undefined

  function set(value: number): void {
    if (value === height) return
    height = value
    drawn?.remove()
    drawn = undefined
    if (height) {
      drawn = document.createElement('div')
      drawn.className = 'preview-keyboard'
      drawn.style.height = `${height}px`
      drawn.textContent = '键盘 keyboard'
      // A tap on it is none on the page, and takes no focus from the field.
      drawn.addEventListener('mousedown', (event) => event.preventDefault())
      document.body.append(drawn)
    }
    field?.triggerEvent('keyboardheightchange', { height, duration: 0.25 })
    tell(height)
    makeWay()
  }

  /** `adjust-position`: the page is pushed up as far as the field needs. */
  function makeWay(): void {
    host.style.transform = ''
    if (!height || !field || !field.data['adjustPosition']) return
    const { bottom } = (field.$$ as unknown as HTMLElement).getBoundingClientRect()
    const hidden = bottom + (parseFloat(field.data['cursorSpacing']) || 0) - (innerHeight - height)
    if (hidden > 0) host.style.transform = `translateY(${-Math.min(hidden, height)}px)`
  }

  return {
    set,
    focus(component, isFocused) {
      if (isFocused) field = component
      if (comesByItself) set(isFocused ? KEYBOARD_HEIGHT : 0)
      if (!isFocused && field === component) field = undefined
    },
  }
}
