/** The swiper: pages side by side, or one above the other, with dots; by hand, by `current`, and of itself. */

import { type Definition, inner, type Self } from './definition.js'

interface Inside {
  timer?: ReturnType<typeof setInterval>
  /** Why it moves. */
  source: '' | 'autoplay' | 'touch'
}

const insides = new WeakMap<Self, Inside>()

export const swiper: Definition = {
  properties: {
    current: Number,
    autoplay: Boolean,
    interval: { type: Number, value: 5000 },
    duration: { type: Number, value: 500 },
    circular: Boolean,
    vertical: Boolean,
    indicatorDots: Boolean,
    indicatorColor: { type: String, value: 'rgba(0, 0, 0, .3)' },
    indicatorActiveColor: { type: String, value: '#000000' },
    displayMultipleItems: { type: Number, value: 1 },
    previousMargin: String,
    nextMargin: String,
    easingFunction: String,
  },
  reflected: ['vertical'],
  attached(element) {
    insides.set(this, { source: 'touch' })
    const box = boxOf(element)
    box.addEventListener('scrollend', () => settle(this, element))
    new MutationObserver(() => drawDots(this, element)).observe(box, { childList: true })
    drawDots(this, element)
    play(this, element)
  },
  detached() {
    clearInterval(insides.get(this)?.timer)
  },
  observers: {
    current(value, element) {
      const inside = insides.get(this)
      if (inside && Number(value) !== placeOf(element)) inside.source = ''
      move(element, Number(value))
      drawDots(this, element)
    },
    'autoplay, interval': function (this: Self, _, element) {
      play(this, element)
    },
    'indicatorDots, indicatorColor, indicatorActiveColor': function (this: Self, _, element) {
      drawDots(this, element)
    },
  },
}

const boxOf = (element: HTMLElement) => inner<HTMLElement>(element, '.preview-swiper')

/** Which of its pages is seen. */
function placeOf(element: HTMLElement): number {
  const { scrollLeft, scrollTop, clientWidth, clientHeight } = boxOf(element)
  return element.hasAttribute('vertical') ? Math.round(scrollTop / (clientHeight || 1)) : Math.round(scrollLeft / (clientWidth || 1))
}

function move(element: HTMLElement, place: number): void {
  const { clientWidth, clientHeight } = element
  const to = element.hasAttribute('vertical') ? { top: place * clientHeight } : { left: place * clientWidth }
  boxOf(element).scrollTo({ ...to, behavior: 'smooth' })
}

function settle(self: Self, element: HTMLElement): void {
  const inside = insides.get(self)
  const current = placeOf(element)
  if (!inside || current === self.data['current']) return
  const { source } = inside
  self.setData({ current })
  const item = boxOf(element).children[current] as (HTMLElement & { __wxElement?: Self }) | undefined
  self.triggerEvent('change', { current, source, currentItemId: item?.__wxElement?.data['itemId'] || '' })
  inside.source = 'touch'
}

function play(self: Self, element: HTMLElement): void {
  const inside = insides.get(self)
  if (!inside) return
  clearInterval(inside.timer)
  if (!self.data['autoplay']) return
  inside.timer = setInterval(() => {
    const count = boxOf(element).childElementCount
    // Who cannot see it does not miss it.
    if (count < 2 || !element.clientWidth) return
    inside.source = 'autoplay'
    move(element, (placeOf(element) + 1) % count)
  }, Number(self.data['interval']))
}

function drawDots(self: Self, element: HTMLElement): void {
  const { indicatorDots, indicatorColor, indicatorActiveColor, current } = self.data
  const dots = Array.from(indicatorDots ? boxOf(element).children : [], (_, at) => {
    const dot = document.createElement('i')
    dot.style.background = String(at === current ? indicatorActiveColor : indicatorColor)
    return dot
  })
  inner(element, '.preview-dots').replaceChildren(...dots)
}
