/**
 * What WXS gets of an element: a descriptor, by which it changes how the element looks without `setData`.
 *
 * Laws: one descriptor for each element; a style that it sets is above the template's, and stands until it sets another.
 */

import type { glassEasel } from 'glass-easel-miniprogram-adapter'
import type { Caller, Component } from './engine.js'

type Element = glassEasel.Element

// The engine's place for styles above all others.
const ABOVE = 3

export interface Descriptor {
  selectComponent(selector: string): Descriptor | null
  selectAllComponents(selector: string): Descriptor[]
  setStyle(style: string | Record<string, string | number>): Descriptor
  addClass(name: string): Descriptor
  removeClass(name: string): Descriptor
  hasClass(name: string): boolean
  getDataset(): Record<string, unknown>
  getState(): Record<string, unknown>
  getComputedStyle(names: string[]): Record<string, string>
  getBoundingClientRect(): DOMRect
  callMethod(name: string, value?: unknown): void
  triggerEvent(name: string, detail?: unknown, options?: object): void
  requestAnimationFrame(callback: () => void): void
  setTimeout(callback: () => void, milliseconds?: number): number
  clearTimeout(timer: number): void
}

const known = new WeakMap<Element, Descriptor>()

/** @param target an element of the engine, or the `this` of a page or a component. */
export function describe(target: Element | Caller): Descriptor {
  const element = '_$' in target ? target._$ : target
  const descriptor = known.get(element) || create(element)
  known.set(element, descriptor)
  return descriptor
}

function create(element: Element): Descriptor {
  const state: Record<string, unknown> = {}
  const dom = () => element.$$ as unknown as HTMLElement
  const owner = () => (isComponent(element) ? element : (element.ownerShadowRoot?.getHostNode() as Component)) // a template's elements have one
  const inside = () => (isComponent(element) && element.getShadowRoot()) || element
  const self: Descriptor = {
    selectComponent: (selector) => ofOne(inside().querySelector(selector)),
    selectAllComponents: (selector) => inside().querySelectorAll(selector).map(describe),
    setStyle(style) {
      element.setNodeStyle(typeof style === 'string' ? style : textOf(style), ABOVE)
      return self
    },
    addClass(name) {
      element.toggleNodeClass(name, true, ABOVE)
      return self
    },
    removeClass(name) {
      element.toggleNodeClass(name, false, ABOVE)
      return self
    },
    hasClass: (name) => Boolean(element.classList?.contains(name) || element.classList?.contains(name, ABOVE)),
    getDataset: () => element.dataset,
    getState: () => state,
    getComputedStyle(names) {
      const style = getComputedStyle(dom())
      return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(dashed(name))]))
    },
    getBoundingClientRect: () => dom().getBoundingClientRect(),
    callMethod(name, value) {
      const caller = owner().getMethodCaller() as unknown as Caller
      caller[name]?.(value)
    },
    triggerEvent: (name, detail, options) => owner().triggerEvent(name, detail, options),
    requestAnimationFrame: (callback) => void requestAnimationFrame(callback),
    setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds) as unknown as number, // a browser's
    clearTimeout: (timer) => clearTimeout(timer),
  }
  return self
}

function isComponent(element: Element): element is Component {
  return 'getMethodCaller' in element && 'is' in element
}

function ofOne(element: Element | null): Descriptor | null {
  return element && describe(element)
}

function textOf(style: Record<string, string | number>): string {
  return Object.entries(style)
    .map(([name, value]) => `${dashed(name)}:${value}`)
    .join(';')
}

function dashed(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}
