/**
 * WeChat's component engine, wired to this document: a program's parts go in, pages come out as elements.
 *
 * Laws: `<view>` becomes `<wx-view>`, as DevTools show it; ids are written to the DOM; an event that no page asked the browser
 * for comes from `triggerEvent` alone, once.
 */

import { glassEasel, MiniProgramEnv, type Root } from 'glass-easel-miniprogram-adapter'
import type { Part } from '../program.js'
import { toCss } from '../lengths.js'
import { mendCrossings } from './crossings.js'
import { pointOf } from './presses.js'

export type Component = glassEasel.GeneralComponent
/** The `this` of a page or a component. The engine's own type says `any` of everything as well. */
export type Caller = Record<string, any> & { _$: Component }
export type Definition = Record<string, any>
export interface Constructors {
  Page(definition: Definition): void
  Component(definition?: Definition): unknown
  Behavior(definition?: Definition): unknown
}
type TemplateGroup = Record<string, (name: string) => never>

export interface Engine {
  space: glassEasel.ComponentSpace
  /** Make a part known, running its code by `run`. */
  define(path: string, part: Part, run: (constructors: Constructors) => void): void
  /** A template of the program's, or a built-in component's. */
  template(path: string): never
  createPage(path: string): Root
  /** The name that a class has in the DOM where it is written in the template that `component` stands in. */
  className(component: Component, name: string): string
}

// What the browser is asked for; every other event is triggered by the built-in components.
const BROWSER_EVENTS = /^(touch|transitionend$|animation)/

/** @param tookTap whether the press that ends now was taken as a long one. */
export function createEngine(templates: TemplateGroup, tookTap: () => boolean): Engine {
  const context = new glassEasel.CurrentWindowBackendContext()
  const listen = context.setListenerStats.bind(context)
  context.document = documentOf()
  context.setListenerStats = (element, type, ...rest) => {
    if (BROWSER_EVENTS.test(type)) listen(element, type, ...rest)
  }
  mendCrossings(context)
  context.onEvent((target, type, detail, options) => {
    if (type !== 'tap' || (!tookTap() && !isDisabled(target))) return dispatch(target, type, detail, options)
  })
  const env = new MiniProgramEnv()
  const code = env.createCodeSpace('', true)
  const backend = env.associateBackend(context)
  const space = code.getComponentSpace()
  mendOptions(code)
  // The engine never tells that a component is ready.
  code.setOverallBehavior(
    space.defineBehavior({
      lifetimes: {
        attached() {
          const component = this as unknown as { _$?: Component } & Component // a caller, or for a built-in the component
          requestAnimationFrame(() => (component._$ || component).triggerLifetime('ready', []))
        },
      },
    }),
  )

  const template = (path: string) => {
    const content = templates[path]
    return { groupList: templates, content: content || (() => () => ({ C() {}, B: {} })), fallbackListenerOnNativeNode: true } as never
  }
  return {
    space,
    template,
    define(path, { config, scope }, run) {
      code.addComponentStaticConfig(path, config as never) // the adapter's type has enumerations for the same words
      code.addCompiledTemplate(path, template(path))
      code.addStyleSheet(path, undefined, scope)
      code.componentEnv(path, (constructors) => run(constructors as unknown as Constructors))
    },
    createPage: (url) => backend.createRoot('page', code, url),
    className(component, name) {
      const owner = component.ownerShadowRoot?.getHostNode()
      const scope = owner?.getComponentOptions().styleScope
      const prefix = scope === undefined || scope === null ? '' : space.styleScopeManager.queryName(scope)
      return prefix ? `${prefix}--${name}` : name
    },
  }
}

type CodeSpace = ReturnType<MiniProgramEnv['createCodeSpace']>

/** The adapter's preparations are made for apps of many; here, ids are for styles and tests to see. */
function mendOptions(code: CodeSpace): void {
  const space = code as unknown as { prepareComponentOptions(is: string, options?: Definition): [Definition, string] } // internal
  const prepare = space.prepareComponentOptions.bind(space)
  space.prepareComponentOptions = (is, options) => {
    const [prepared, isolation] = prepare(is, options)
    // A property may be called as a field of the engine's nodes; writing it there would break the node. A handler may be one that
    // a program has put on the page later, as uni-app does.
    Object.assign(prepared, { writeIdToDOM: true, idPrefixGenerator: null, writeFieldsToNode: false, useMethodCallerListeners: true })
    return [prepared, isolation]
  }
}

function documentOf(): glassEasel.CurrentWindowBackendContext['document'] {
  const createElement = (tag: string) => {
    const element = document.createElement(tag.startsWith('html-') ? tag.slice('html-'.length) : `wx-${tag}`)
    const setAttribute = element.setAttribute.bind(element)
    element.setAttribute = (name, value) => setAttribute(name, name === 'style' ? toCss(String(value)) : value)
    return element
  }
  return {
    createElement,
    createTextNode: (text: string) => document.createTextNode(text),
    createDocumentFragment: () => document.createDocumentFragment(),
  } as never // the engine's own words for elements
}

type Status = ReturnType<glassEasel.Event<unknown>['getEventBubbleStatus']>

function dispatch(target: glassEasel.Element, type: string, detail: any, options: glassEasel.EventOptions): Status {
  // any: as the engine has it
  const isTouch = type.startsWith('touch')
  const extraFields = isTouch ? touchesOf(detail) : type === 'tap' ? pointOf(detail.x, detail.y) : {}
  const event = new glassEasel.Event(type, isTouch ? {} : detail, { ...options, extraFields })
  glassEasel.Event.dispatchEvent(target, event)
  return event.getEventBubbleStatus()
}

function isDisabled(target: glassEasel.Element): boolean {
  let node: glassEasel.Element | null = target
  while (node) {
    if (glassEasel.Component.isComponent(node) && node.is === 'wx://button') return Boolean((node.data as { disabled?: boolean }).disabled)
    node = node.parentNode
  }
  return false
}

function touchesOf(event: TouchEvent): Record<string, unknown> {
  const plain = (touches: ArrayLike<Touch> | undefined) =>
    Array.from(touches || [], ({ identifier, clientX, clientY, pageX, pageY }) => ({ identifier, clientX, clientY, pageX, pageY }))
  return { touches: plain(event.touches), changedTouches: plain(event.changedTouches) }
}
