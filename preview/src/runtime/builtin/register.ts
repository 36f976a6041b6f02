/** Makes the built-in components known to the engine. */

import { builtInPath } from '../../tags.js'
import type { Engine } from '../engine.js'
import { createChoices } from './choices.js'
import { createContainers } from './containers.js'
import { COMMON, COMMON_OBSERVERS, type Definition, HOVER, reflect, type Self } from './definition.js'
import { createFields } from './fields.js'
import { createForms } from './forms.js'
import { createTexts } from './texts.js'

/** What built-in components need of the world around them. */
export interface World {
  /** The name that a class has in the DOM, of the template that the component stands in. */
  className(component: Self, name: string): string
  /** Where a file of the program is served, named by the template of `component`. */
  fileUrl(component: Self, src: string): string
  /** `wx.navigateTo` and its kin. */
  navigate(api: string, option: { url?: string; delta?: number }): void
  /** A button shares the page. */
  share(button: Self): void
  /** The program looked for something that is not here. */
  missing(name: string): void
  /** A field got or lost the keyboard. */
  focus(component: Self, isFocused: boolean): void
}

export function registerBuiltIns(engine: Engine, world: World): void {
  const all: Record<string, Definition> = {
    ...createContainers(world),
    ...createTexts(world),
    ...createFields(world),
    ...createChoices(world),
    ...createForms(world),
  }
  for (const [tag, definition] of Object.entries(all)) {
    engine.space.setGlobalUsingComponent(tag, define(engine, world, tag, definition) as never) // one type of the engine's many
  }
}

function define({ space, template }: Engine, world: World, tag: string, definition: Definition): unknown {
  const { properties = {}, externalClasses = [], reflected = [], canHover = false } = definition
  const role = (value: unknown, element: HTMLElement) => reflect(element, 'role', value || definition.role)
  const observers: NonNullable<Definition['observers']> = {
    ...COMMON_OBSERVERS,
    ariaRole: role,
    ...Object.fromEntries(reflected.map((name) => [name, reflecting(name)])),
    ...definition.observers,
  }
  return space.defineComponent({
    is: builtInPath(tag),
    template: template(builtInPath(tag)),
    externalClasses,
    properties: { ...COMMON, ...(canHover ? HOVER : {}), ...properties } as never,
    observers: Object.fromEntries(
      Object.entries(observers).map(([name, observe]) => [
        name,
        function (this: Self, value: unknown) {
          if (this.$$) observe.call(this, value, this.$$ as never)
        },
      ]),
    ),
    lifetimes: {
      attached(this: unknown) {
        const self = this as Self
        const element = self.$$ as unknown as HTMLElement
        definition.attached?.call(self, element)
        for (const [name, observe] of Object.entries(observers)) {
          if (!/[,.*]/.test(name) && self.data[name] !== undefined) observe.call(self, self.data[name], element)
        }
        if (canHover) hover(self, element, world)
      },
      detached(this: unknown) {
        definition.detached?.call(this as Self)
      },
    },
  } as never)
}

function reflecting(name: string) {
  const attribute = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  return (value: unknown, element: HTMLElement) => reflect(element, attribute, value)
}

function hover(self: Self, element: HTMLElement, world: World): void {
  const names = () =>
    self.data['hoverClass'] === 'none' || self.data['disabled'] ? [] : String(self.data['hoverClass']).split(/\s+/).filter(Boolean)
  const start = (event: Event) => {
    const classes = names().map((name) => world.className(self, name))
    if (self.data['hoverStopPropagation']) event.stopPropagation()
    if (!classes.length) return
    element.classList.add(...classes)
    const end = () => {
      for (const type of ENDS) removeEventListener(type, end, true)
      setTimeout(() => element.classList.remove(...classes), Number(self.data['hoverStayTime']))
    }
    for (const type of ENDS) addEventListener(type, end, true)
  }
  element.addEventListener('touchstart', start, { passive: true })
  element.addEventListener('mousedown', start)
}

const ENDS = ['touchend', 'touchcancel', 'mouseup']
