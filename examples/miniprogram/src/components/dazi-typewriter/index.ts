/**
 * A plain text, typed as it grows. For Markdown there is `dazi-message`.
 *
 * By property (`text` so far, and whether it is `done`), or, for long texts, by the method `type`, which sends nothing
 * through the page's `setData`. Events: `grow` after each drawing, `done` when all is typed.
 */

import { createTypewriter, type Frame, type Typewriter } from 'dazi/typewriter'
import { unhurriedClock } from './clock'
import { createPieces, type Pieces } from './pieces'

interface Inner {
  pieces: Pieces
  typewriter: Typewriter
  isDone: boolean // the typewriter has ended; more text needs another one
}

const inners = new WeakMap<object, Inner>()

Component({
  properties: {
    /** The whole text so far. */
    text: { type: String, value: '' },
    /** Whether it is all there is. */
    done: { type: Boolean, value: false },
    /** Show what comes by property at once. */
    instant: { type: Boolean, value: false },
  },
  data: { pieces: [] as string[], isTyping: false },
  observers: {
    'text, done': function (text: string, done: boolean) {
      if (!text && !done) return
      this.type(text, done)
      if (this.data.instant) this.flush()
    },
  },
  lifetimes: {
    detached() {
      const inner = inners.get(this)
      if (inner) inner.typewriter.stop()
    },
  },
  pageLifetimes: {
    hide() {
      const inner = inners.get(this)
      if (inner) inner.typewriter.pause()
    },
    show() {
      const inner = inners.get(this)
      if (inner) inner.typewriter.resume()
    },
  },
  methods: {
    /** Type what of this text, the whole so far, does not stand yet. */
    type(text: string, done = false): void {
      const { typewriter } = this.inner()
      typewriter.replace(text)
      if (done) typewriter.end()
    },

    /** Show at once what is there. */
    flush(): void {
      this.inner().typewriter.flush()
    },

    inner(): Inner {
      const known = inners.get(this)
      if (known && !known.isDone) return known
      const pieces = known ? known.pieces : createPieces('pieces')
      const inner = { pieces, typewriter: createTypewriter((frame) => this.draw(frame), unhurriedClock), isDone: false }
      inners.set(this, inner)
      return inner
    },

    draw({ text, kept, done }: Frame): void {
      const inner = this.inner()
      const patch = inner.pieces.update(text, kept)
      if (this.data.isTyping === done) patch.isTyping = !done
      inner.isDone = done
      this.setData(patch, () => {
        this.triggerEvent('grow')
        if (done) this.triggerEvent('done')
      })
    },
  },
})
