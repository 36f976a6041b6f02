/**
 * When what crosses what, for `createIntersectionObserver`: the browser's observers, by WeChat's rules.
 *
 * Law: the first that a program hears is of a threshold that is reached already; that nothing is seen yet is not told.
 */

import type { glassEasel } from 'glass-easel-miniprogram-adapter'
import { component } from 'glass-easel-miniprogram-adapter'

/** The adapter keeps to itself what is reached at first, where it has the rule the wrong way round. */
export function mendObservers(): void {
  const prototype = component.ComponentCaller.prototype as unknown as { createIntersectionObserver(options?: object): object } // as programs call it
  const create = prototype.createIntersectionObserver
  prototype.createIntersectionObserver = function (options) {
    return Object.assign(create.call(this, options), { _$initialRatio: null })
  }
}

export function mendCrossings(context: glassEasel.CurrentWindowBackendContext): void {
  const observe = context.createIntersectionObserver.bind(context)
  context.createIntersectionObserver = (target, relative, margin, thresholds, listener) => {
    let isFirst = true
    // A side for which the program gives no margin is the adapter's `undefined`.
    return observe(target, relative, margin.replaceAll('undefined', '0'), thresholds, (status) => {
      const { intersectionRatio } = status
      const isTold = !isFirst || (intersectionRatio > 0 && thresholds.some((threshold) => intersectionRatio >= threshold))
      isFirst = false
      if (isTold) listener(status)
    })
  }
}
