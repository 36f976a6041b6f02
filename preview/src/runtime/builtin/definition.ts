/** What the built-in components have in common: what they are defined by, and the properties that all of them know. */

import type { Component } from '../engine.js'
import { type Exported, play } from '../wx/animation.js'

/** The `this` of a built-in component: the engine's component itself, with its element at `$$`. */
export type Self = Component & Record<string, any>

export interface Definition {
  properties?: Record<string, unknown>
  externalClasses?: string[]
  /** Of the element: called once it is in the page. */
  attached?(this: Self, element: HTMLElement): void
  detached?(this: Self): void
  /** Called when one of the properties changes, and once when it is attached; `name` as in `observers`. */
  observers?: Record<string, (this: Self, value: any, element: HTMLElement) => void>
  /** Properties that selectors of WXSS and tests may see, as attributes. */
  reflected?: string[]
  /** A role that is its own, for who cannot see. */
  role?: string
  canHover?: boolean
}

// Both are written by a program as `aria-role` and so on.
const ARIA = [
  'Role',
  'Label',
  'Hidden',
  'Checked',
  'Disabled',
  'Expanded',
  'Selected',
  'Modal',
  'Live',
  'Level',
  'Haspopup',
  'Describedby',
  'Labelledby',
]
const HOVER_CLASS = 'none'

export const COMMON: Record<string, unknown> = {
  hidden: Boolean,
  animation: Object,
  ...Object.fromEntries(ARIA.map((name) => [`aria${name}`, { type: null, value: undefined }])),
}

export const HOVER: Record<string, unknown> = {
  hoverClass: { type: String, value: HOVER_CLASS },
  hoverStopPropagation: Boolean,
  hoverStartTime: { type: Number, value: 50 },
  hoverStayTime: { type: Number, value: 400 },
}

export const COMMON_OBSERVERS: NonNullable<Definition['observers']> = {
  animation: (value: Partial<Exported> | null, element) => void (value?.actions && play(element, value)),
  hidden: (value, element) => void element.toggleAttribute('hidden', Boolean(value)),
  ...Object.fromEntries(
    ARIA.map((name) => [
      `aria${name}`,
      (value: unknown, element: HTMLElement) => reflect(element, name === 'Role' ? 'role' : `aria-${name.toLowerCase()}`, value),
    ]),
  ),
}

export function reflect(element: HTMLElement, attribute: string, value: unknown): void {
  if (value === undefined || value === null || value === false || value === '') element.removeAttribute(attribute)
  else element.setAttribute(attribute, value === true ? 'true' : String(value))
}

/** Of `data`, `id` and `offset` of a target, what events of fields tell. */
export function inner<T extends HTMLElement>(element: HTMLElement, selector: string): T {
  const found = element.querySelector<T>(selector)
  if (!found) throw new Error(`The template of ${element.localName} has no ${selector}.`)
  return found
}
