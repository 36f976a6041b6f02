/** Boxes: view, scroll-view, and what is but a box here. */

import { type Definition, inner, type Self } from './definition.js'
import type { World } from './register.js'
import { swiper } from './swiper.js'

type Scrolled = { scrollTop: number; scrollLeft: number; scrollHeight: number; scrollWidth: number; deltaX: number; deltaY: number }

export function createContainers(_world: World): Record<string, Definition> {
  return {
    view: { canHover: true },
    'cover-view': {},
    label: { properties: { for: String }, attached: label },
    'root-portal': { attached: portal },
    'page-container': {
      properties: { show: Boolean },
      observers: { show: (value, element) => void element.toggleAttribute('hidden', !value) },
    },
    'page-meta': {},
    canvas: { properties: { type: String, canvasId: String, disableScroll: Boolean } },
    'navigation-bar': { properties: { title: String } },
    'scroll-view': {
      properties: {
        scrollX: Boolean,
        scrollY: Boolean,
        scrollTop: { type: null, value: undefined },
        scrollLeft: { type: null, value: undefined },
        scrollIntoView: String,
        scrollWithAnimation: Boolean,
        upperThreshold: { type: null, value: 50 },
        lowerThreshold: { type: null, value: 50 },
        enhanced: Boolean,
        showScrollbar: { type: Boolean, value: true },
        bounces: { type: Boolean, value: true },
        enableBackToTop: Boolean,
        enableFlex: Boolean,
        scrollAnchoring: Boolean,
        pagingEnabled: Boolean,
        fastDeceleration: Boolean,
        refresherEnabled: Boolean,
        refresherTriggered: Boolean,
        refresherThreshold: Number,
        refresherDefaultStyle: String,
        refresherBackground: String,
        type: String,
        usingSticky: Boolean,
        scrollIntoViewOffset: Number,
        scrollIntoViewAlignment: String,
      },
      attached: attachScroll,
      observers: {
        'scrollX, scrollY': function (this: Self, _, element) {
          setAxes(this, element)
        },
        scrollTop(value, element) {
          if (isNumber(value)) move(this, element, { top: parseFloat(value) })
        },
        scrollLeft(value, element) {
          if (isNumber(value)) move(this, element, { left: parseFloat(value) })
        },
        scrollIntoView(id, element) {
          if (id) intoView(this, element, id)
        },
        enableFlex: (value, element) => void (box(element).style.display = value ? 'flex' : ''),
        showScrollbar: (value, element) => void (box(element).style.scrollbarWidth = value ? '' : 'none'),
      },
    },
    swiper,
    'swiper-item': { properties: { itemId: String } },
  }
}

const isNumber = (value: unknown) => !Number.isNaN(parseFloat(String(value)))
const box = (element: HTMLElement) => inner<HTMLElement>(element, ':scope > .preview-scroll')

function attachScroll(this: Self, element: HTMLElement): void {
  const inside = box(element)
  // Selector queries ask the host.
  for (const name of ['scrollTop', 'scrollLeft', 'scrollWidth', 'scrollHeight'] as const) {
    Object.defineProperty(element, name, { get: () => inside[name], configurable: true })
  }
  setAxes(this, element)
  let last = { top: 0, left: 0 }
  inside.addEventListener('scroll', () => {
    const { scrollTop, scrollLeft, scrollHeight, scrollWidth, clientHeight, clientWidth } = inside
    const moved = { deltaY: last.top - scrollTop, deltaX: last.left - scrollLeft }
    tellEdges(this, moved, scrollHeight - clientHeight - scrollTop, scrollWidth - clientWidth - scrollLeft, inside)
    last = { top: scrollTop, left: scrollLeft }
    this.triggerEvent('scroll', { scrollTop, scrollLeft, scrollHeight, scrollWidth, ...moved } satisfies Scrolled)
  })
  for (const [from, to] of [
    ['touchstart', 'dragstart'],
    ['touchmove', 'dragging'],
    ['touchend', 'dragend'],
  ] as const) {
    inside.addEventListener(from, () => this.triggerEvent(to, { scrollTop: inside.scrollTop, scrollLeft: inside.scrollLeft }), {
      passive: true,
    })
  }
}

function tellEdges(self: Self, moved: { deltaX: number; deltaY: number }, below: number, right: number, inside: HTMLElement): void {
  const upper = parseFloat(self.data['upperThreshold'])
  const lower = parseFloat(self.data['lowerThreshold'])
  if (moved.deltaY > 0 && inside.scrollTop <= upper) self.triggerEvent('scrolltoupper', { direction: 'top' })
  if (moved.deltaX > 0 && inside.scrollLeft <= upper) self.triggerEvent('scrolltoupper', { direction: 'left' })
  if (moved.deltaY < 0 && below <= lower) self.triggerEvent('scrolltolower', { direction: 'bottom' })
  if (moved.deltaX < 0 && right <= lower) self.triggerEvent('scrolltolower', { direction: 'right' })
}

function setAxes(self: Self, element: HTMLElement): void {
  const inside = box(element)
  inside.style.overflowX = self.data['scrollX'] ? 'auto' : 'hidden'
  inside.style.overflowY = self.data['scrollY'] ? 'auto' : 'hidden'
}

function move(self: Self, element: HTMLElement, to: ScrollToOptions): void {
  // What the same `setData` adds is laid out by then.
  requestAnimationFrame(() => box(element).scrollTo({ ...to, behavior: self.data['scrollWithAnimation'] ? 'smooth' : 'instant' }))
}

function intoView(self: Self, element: HTMLElement, id: string): void {
  requestAnimationFrame(() => {
    const target = element.querySelector(`#${CSS.escape(id)}`)
    if (!target) return
    const inside = box(element)
    const from = inside.getBoundingClientRect()
    const to = target.getBoundingClientRect()
    const options: ScrollToOptions = self.data['scrollX'] ? { left: inside.scrollLeft + to.left - from.left } : {}
    if (self.data['scrollY']) options.top = inside.scrollTop + to.top - from.top
    inside.scrollTo({ ...options, behavior: self.data['scrollWithAnimation'] ? 'smooth' : 'instant' })
  })
}

function portal(this: Self, element: HTMLElement): void {
  element.style.position = 'relative'
  element.style.zIndex = '1000'
}

/** A tap on a label is a tap on what it is for. */
function label(this: Self, element: HTMLElement): void {
  this.addListener('tap', (event) => {
    const own = 'wx-checkbox, wx-radio, wx-switch, wx-button, wx-input input, wx-textarea textarea'
    const id = String(this.data['for'] || '')
    const target = id ? document.getElementById(id) : element.querySelector<HTMLElement>(own)
    const tapped = (event.getOriginalEvent() as Event | undefined)?.target as Node | null
    if (!target || (tapped && target.contains(tapped))) return
    target.matches('input, textarea') ? target.focus() : target.dispatchEvent(new CustomEvent('preview-tap'))
  })
}
