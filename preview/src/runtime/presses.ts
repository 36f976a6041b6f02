/**
 * `longpress`, which the engine does not know: 350 ms on one place. Who listens for it gets no tap.
 *
 * Law: the tap is kept from the page only if something that was pressed listens for `longpress`.
 */

import { glassEasel } from 'glass-easel-miniprogram-adapter'

const PRESS_MILLISECONDS = 350
const STILL_PIXELS = 10

type Element = glassEasel.Element & {
  _$eventTarget?: { listeners: Record<string, unknown>; captureListeners: Record<string, unknown> | null }
}

export interface Presses {
  /** Whether the press that ends now was a long one, for somebody. */
  tookTap(): boolean
}

export function watchPresses(): Presses {
  let timer: ReturnType<typeof setTimeout> | undefined
  let start = { x: 0, y: 0 }
  let wasLong = false

  function begin(target: EventTarget | null, x: number, y: number): void {
    clearTimeout(timer)
    start = { x, y }
    wasLong = false
    timer = setTimeout(() => {
      const element = elementOf(target)
      if (!element) return
      wasLong = isListenedTo(element)
      for (const type of ['longpress', 'longtap']) {
        const event = new glassEasel.Event(
          type,
          { x, y },
          { bubbles: true, composed: true, capturePhase: true, extraFields: pointOf(x, y) },
        )
        glassEasel.Event.dispatchEvent(element, event)
      }
    }, PRESS_MILLISECONDS)
  }

  const move = (x: number, y: number) => Math.hypot(x - start.x, y - start.y) > STILL_PIXELS && clearTimeout(timer)
  const end = () => clearTimeout(timer)
  const first = ({ touches }: TouchEvent) => touches[0] as Touch
  addEventListener('touchstart', (event) => begin(event.target, first(event).clientX, first(event).clientY), {
    capture: true,
    passive: true,
  })
  addEventListener('touchmove', (event) => move(first(event).clientX, first(event).clientY), { capture: true, passive: true })
  addEventListener('mousedown', ({ target, clientX, clientY }) => begin(target, clientX, clientY), true)
  addEventListener('mousemove', ({ clientX, clientY }) => move(clientX, clientY), true)
  for (const type of ['touchend', 'touchcancel', 'mouseup']) addEventListener(type, end, true)
  return { tookTap: () => wasLong }
}

export function pointOf(x: number, y: number): Record<string, unknown> {
  const touches = [{ identifier: 0, clientX: x, clientY: y, pageX: x + scrollX, pageY: y + scrollY }]
  return { touches, changedTouches: touches }
}

function elementOf(target: EventTarget | null): Element | undefined {
  let node = target as (Node & { __wxElement?: Element }) | null
  while (node && !node.__wxElement) node = node.parentNode
  return node?.__wxElement
}

function isListenedTo(element: Element): boolean {
  for (let node: Element | null | undefined = element; node; node = (node.parentNode || shadowHost(node)) as Element | null) {
    const { listeners, captureListeners } = node._$eventTarget || { listeners: {}, captureListeners: null }
    if (listeners['longpress'] || captureListeners?.['longpress'] || listeners['longtap']) return true
  }
  return false
}

function shadowHost(node: Element): glassEasel.Element | null {
  return glassEasel.ShadowRoot.isShadowRoot(node as never) ? (node as unknown as glassEasel.ShadowRoot).getHostNode() : null
}
