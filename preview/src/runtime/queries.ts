/**
 * What selector queries can ask and the adapter does not answer: `node` (of a scroll-view, to scroll it), `computedStyle`, and how
 * far the window is scrolled.
 */

import { component } from 'glass-easel-miniprogram-adapter'

interface Fields {
  node?: boolean
  computedStyle?: string[]
  scrollOffset?: boolean
  context?: boolean
}
type Result = Record<string, unknown> & { context?: HTMLElement | null }
type Asked = (result: Result | Result[] | null) => void
interface NodesRef {
  fields(fields: Fields, callback?: Asked): unknown
  scrollOffset(callback?: Asked): unknown
  node(callback?: Asked): unknown
}
interface Query {
  select(selector: string): NodesRef
  selectViewport(): NodesRef
}

let isExtended = false

export function extendQueries(): void {
  const prototype = component.ComponentCaller.prototype as unknown as { createSelectorQuery(): Query }
  const create = prototype.createSelectorQuery
  prototype.createSelectorQuery = function () {
    const query = create.call(this)
    // The adapter does not export its class, which is found by an instance.
    if (!isExtended) extend(Object.getPrototypeOf(query.select('view')) as NodesRef)
    isExtended = true
    const viewport = query.selectViewport.bind(query)
    query.selectViewport = () => mendViewport(viewport())
    return query
  }
}

function extend(prototype: NodesRef): void {
  const { fields } = prototype
  prototype.fields = function (asked, callback) {
    const { node = false, computedStyle = [] } = asked
    if (!node && !computedStyle.length) return fields.call(this, asked, callback)
    return fields.call(this, { ...asked, context: true }, (result) => {
      for (const one of Array.isArray(result) ? result : [result]) if (one) complete(one, asked)
      callback?.(result)
    })
  }
  prototype.node = function (callback) {
    return this.fields({ node: true }, callback)
  }
}

/** The element that was asked for as `context` is turned into what the program asked for. */
function complete(result: Result, { node, computedStyle = [], context }: Fields): void {
  const element = result.context
  if (!context) delete result.context
  if (!element) return
  const style = getComputedStyle(element)
  for (const name of computedStyle) result[name] = style.getPropertyValue(name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`))
  if (node) result['node'] = NODES[element.localName]?.(element) ?? null
}

/** What a component is for a program that asks for its `node`. */
const NODES: Record<string, (element: HTMLElement) => object> = { 'wx-scroll-view': scrollContext, 'wx-canvas': canvasOf }

/** The browser's own, with what WeChat's has besides. */
function canvasOf(element: HTMLElement): HTMLCanvasElement {
  const canvas = element.querySelector('canvas') as HTMLCanvasElement // of its template
  return Object.assign(canvas, {
    createImage: () => new Image(),
    requestAnimationFrame: (callback: FrameRequestCallback) => requestAnimationFrame(callback),
    cancelAnimationFrame: (timer: number) => cancelAnimationFrame(timer),
  })
}

/** Of a scroll-view that is `enhanced`. */
function scrollContext(element: HTMLElement) {
  const inside = element.querySelector<HTMLElement>(':scope > .preview-scroll') as HTMLElement
  return {
    scrollTo: ({ top, left, animated = true, duration = 300 }: { top?: number; left?: number; animated?: boolean; duration?: number }) =>
      inside.scrollTo({
        ...(top === undefined ? {} : { top }),
        ...(left === undefined ? {} : { left }),
        behavior: animated && duration ? 'smooth' : 'instant',
      }),
    scrollIntoView: (selector: string) => element.querySelector(selector)?.scrollIntoView(),
  }
}

function mendViewport(viewport: NodesRef): NodesRef {
  const fields = viewport.fields.bind(viewport)
  viewport.fields = (asked, callback) =>
    fields(asked, (result) => {
      const root = document.documentElement
      if (asked.scrollOffset && result && !Array.isArray(result)) {
        Object.assign(result, { scrollLeft: scrollX, scrollTop: scrollY, scrollWidth: root.scrollWidth, scrollHeight: root.scrollHeight })
      }
      callback?.(result)
    })
  viewport.scrollOffset = (callback) => viewport.fields({ scrollOffset: true, id: true, dataset: true } as Fields, callback)
  return viewport
}
