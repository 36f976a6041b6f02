/** `wx.createAnimation`: what is to move is said step by step, exported, and played by the component whose `animation` it is. */

interface Options {
  duration?: number
  timingFunction?: string
  delay?: number
  transformOrigin?: string
}
interface Move {
  type: string
  args: unknown[]
}
interface Step {
  moves: Move[]
  option: Required<Options>
}

/** As a program hands it on by `setData`. */
export interface Exported {
  actions: Step[]
}

const TRANSFORMS = (
  'matrix matrix3d rotate rotate3d rotateX rotateY rotateZ scale scale3d scaleX scaleY scaleZ skew skewX skewY translate translate3d ' +
  'translateX translateY translateZ'
).split(' ')
const STYLES = ['opacity', 'backgroundColor', 'width', 'height', 'top', 'left', 'bottom', 'right']
const LENGTHS = /^(translate|width|height|top|left|bottom|right)/
const ANGLES = /^(rotate|skew)/

const USUAL: Required<Options> = { duration: 400, timingFunction: 'linear', delay: 0, transformOrigin: '50% 50% 0' }

export function createAnimation(options: Options = {}): Record<string, unknown> {
  let moves: Move[] = []
  let actions: Step[] = []
  const animation: Record<string, unknown> = {
    step(option: Options = {}) {
      actions.push({ moves, option: { ...USUAL, ...options, ...option } })
      moves = []
      return animation
    },
    export(): Exported {
      const exported = { actions }
      actions = []
      return exported
    },
  }
  for (const type of [...TRANSFORMS, ...STYLES]) {
    animation[type] = (...args: unknown[]) => {
      moves.push({ type, args })
      return animation
    }
  }
  return animation
}

// How each element stands after what was played.
const stands = new WeakMap<HTMLElement, { transforms: Map<string, string>; styles: Record<string, string> }>()

/** Play it, one step after the other, from where the element stands. */
export async function play(element: HTMLElement, { actions = [] }: Partial<Exported>): Promise<void> {
  const state = stands.get(element) || { transforms: new Map<string, string>(), styles: {} }
  stands.set(element, state)
  for (const { moves, option } of actions) {
    for (const { type, args } of moves) {
      if (STYLES.includes(type)) state.styles[type] = lengthOf(type, args[0])
      else state.transforms.set(type, `${type}(${args.map((value) => lengthOf(type, value)).join()})`)
    }
    const { duration, delay, timingFunction: easing, transformOrigin } = option
    element.style.transformOrigin = transformOrigin
    const frame = { ...state.styles, ...(state.transforms.size && { transform: [...state.transforms.values()].join(' ') }) }
    await element.animate([frame], { duration, delay, easing, fill: 'forwards' }).finished
  }
}

function lengthOf(type: string, value: unknown): string {
  if (typeof value !== 'number') return String(value)
  return `${value}${LENGTHS.test(type) ? 'px' : ANGLES.test(type) ? 'deg' : ''}`
}
