/**
 * What is written into: input and textarea.
 *
 * Laws: what was typed is in the component's own `value` at once, so `model:value` works and a later `value=""` of the page is a
 * change; while a word is being composed nothing is told until it stands.
 */

import { toCss } from '../../lengths.js'
import { type Definition, inner, type Self } from './definition.js'
import type { World } from './register.js'

type Field = HTMLInputElement | HTMLTextAreaElement

// The browser's type for each of WeChat's.
const TYPES: Record<string, { type: string; mode: string }> = {
  text: { type: 'text', mode: 'text' },
  number: { type: 'text', mode: 'numeric' },
  digit: { type: 'text', mode: 'decimal' },
  idcard: { type: 'text', mode: 'text' },
  nickname: { type: 'text', mode: 'text' },
  password: { type: 'password', mode: 'text' },
}
// Of `maxlength`, where a program says nothing.
const MOST_CHARACTERS = 140

const PROPERTIES: Record<string, unknown> = {
  value: String,
  placeholder: String,
  placeholderStyle: String,
  disabled: Boolean,
  maxlength: { type: null, value: MOST_CHARACTERS },
  focus: Boolean,
  autoFocus: Boolean,
  cursorSpacing: { type: null, value: 0 },
  cursor: { type: Number, value: -1 },
  selectionStart: { type: Number, value: -1 },
  selectionEnd: { type: Number, value: -1 },
  adjustPosition: { type: Boolean, value: true },
  holdKeyboard: Boolean,
  confirmHold: Boolean,
  confirmType: { type: String, value: 'done' },
  name: String,
  alwaysEmbed: Boolean,
  cursorColor: String,
  adjustKeyboardTo: String,
}

export function createFields(world: World): Record<string, Definition> {
  const common: Definition = {
    externalClasses: ['placeholder-class'],
    observers: {
      value(value, element) {
        write(element, String(value ?? ''))
      },
      disabled: (value, element) => void (field(element).disabled = Boolean(value)),
      maxlength: (value, element) =>
        void (Number(value) >= 0 ? (field(element).maxLength = Number(value)) : field(element).removeAttribute('maxlength')),
      placeholder: (value, element) => void (field(element).ariaPlaceholder = String(value ?? '')),
      ariaLabel: (value, element) => void (field(element).ariaLabel = value || null),
      focus: (value, element) =>
        void setTimeout(() => (value ? field(element).focus() : field(element) === document.activeElement && field(element).blur())),
      confirmType: (value, element) => void (field(element).enterKeyHint = value === 'return' ? 'enter' : value),
      placeholderStyle: (value, element) => void inner(element, '.preview-placeholder').setAttribute('style', toCss(String(value || ''))),
    },
    reflected: ['disabled'],
  }
  return {
    input: {
      ...common,
      properties: { ...PROPERTIES, type: { type: String, value: 'text' }, password: Boolean },
      attached(element) {
        attachField(this, element, world)
        field(element).addEventListener('keydown', (event) => {
          if ((event as KeyboardEvent).key === 'Enter' && !(event as KeyboardEvent).isComposing)
            confirm(this, element, !this.data['confirmHold'])
        })
      },
      observers: {
        ...common.observers,
        'type, password': function (this: Self, _, element) {
          setType(this, element)
        },
      },
    },
    textarea: {
      ...common,
      properties: {
        ...PROPERTIES,
        autoHeight: Boolean,
        fixed: Boolean,
        showConfirmBar: Boolean,
        disableDefaultPadding: Boolean,
        confirmType: { type: String, value: 'return' },
      },
      reflected: ['disabled', 'autoHeight'],
      attached(element) {
        attachField(this, element, world)
        field(element).addEventListener('keydown', (event) => {
          const { key, isComposing, shiftKey } = event as KeyboardEvent
          if (key !== 'Enter' || isComposing || shiftKey || this.data['confirmType'] === 'return') return
          event.preventDefault()
          confirm(this, element, !this.data['confirmHold'])
        })
        requestAnimationFrame(() => grow(this, element))
      },
      observers: {
        ...common.observers,
        value(value, element) {
          write(element, String(value ?? ''))
          grow(this, element)
        },
      },
    },
  }
}

const field = (element: HTMLElement) => inner<Field>(element, '.preview-field')

function attachField(self: Self, element: HTMLElement, world: World): void {
  const own = field(element)
  setType(self, element)
  showPlaceholder(element)
  let isComposing = false
  const tell = (event: Event) => {
    showPlaceholder(element)
    if (isComposing) return
    const { value, selectionEnd } = own
    self.setData({ value })
    grow(self, element)
    const keyCode = (event as InputEvent).data?.codePointAt(0) || 8
    self.triggerEvent('input', { value, cursor: selectionEnd ?? value.length, keyCode })
  }
  own.addEventListener('compositionstart', () => (isComposing = true))
  own.addEventListener('compositionend', (event) => {
    isComposing = false
    tell(event)
  })
  own.addEventListener('input', tell)
  own.addEventListener('focus', () => {
    const { cursor, selectionStart, selectionEnd } = self.data as Record<string, number>
    if (Number(selectionStart) >= 0) own.setSelectionRange(Number(selectionStart), Number(selectionEnd))
    else if (Number(cursor) >= 0) own.setSelectionRange(Number(cursor), Number(cursor))
    self.triggerEvent('focus', { value: own.value, height: 0 })
    world.focus(self, true)
  })
  own.addEventListener('blur', () => {
    world.focus(self, false)
    self.triggerEvent('blur', { value: own.value, cursor: own.selectionEnd ?? 0 })
  })
  own.addEventListener('change', () => self.triggerEvent('change', { value: own.value }))
  if (self.data['autoFocus']) setTimeout(() => own.focus())
}

function setType(self: Self, element: HTMLElement): void {
  const own = field(element)
  if (!(own instanceof HTMLInputElement)) return
  const { type, mode } = TYPES[self.data['password'] ? 'password' : String(self.data['type'])] || { type: 'text', mode: 'text' }
  own.type = type
  own.inputMode = mode
}

function write(element: HTMLElement, value: string): void {
  const own = field(element)
  if (own.value !== value) own.value = value
  showPlaceholder(element)
}

function showPlaceholder(element: HTMLElement): void {
  inner<HTMLElement>(element, '.preview-placeholder').hidden = field(element).value !== ''
}

function confirm(self: Self, element: HTMLElement, closes: boolean): void {
  self.triggerEvent('confirm', { value: field(element).value })
  if (closes) field(element).blur()
}

// When each was last measured, so that `linechange` is told once.
const heights = new WeakMap<HTMLElement, number>()

function grow(self: Self, element: HTMLElement): void {
  const own = field(element)
  if (!(own instanceof HTMLTextAreaElement)) return
  // A browser's textarea has two rows of its own accord.
  if (self.data['autoHeight']) own.rows = 1
  own.style.height = self.data['autoHeight'] ? 'auto' : ''
  const height = own.scrollHeight
  if (self.data['autoHeight']) own.style.height = `${height}px`
  if (heights.get(element) === height) return
  const isFirst = !heights.has(element)
  heights.set(element, height)
  const lineHeight = parseFloat(getComputedStyle(own).lineHeight) || 20
  if (!isFirst)
    self.triggerEvent('linechange', {
      height,
      heightRpx: (750 / innerWidth) * height,
      lineCount: Math.round(height / lineHeight),
      lineHeight,
    })
}
