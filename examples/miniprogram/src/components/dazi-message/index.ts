/**
 * An answer in Markdown, drawn as it is typed, its reasoning folded away.
 *
 * By property (`text`, `reasoning`) where it stands already, and by the method `type` while it grows: then `setData`
 * gets what changed and nothing else, and nothing goes through the page's. Events: `grow` after each drawing, `done`
 * when all is typed, `link` with the `href` that was tapped, `copy` with the `text` of a block of code.
 */

import { createMarkdown, type Markdown, type Node, type Patch } from 'dazi/markdown'
import { createTypewriter, type Frame, type Typewriter } from 'dazi/typewriter'
import { unhurriedClock } from '../dazi-typewriter/clock'

/** The answer so far, as the SDK tells it. */
export interface Said {
  text: string
  reasoning?: string
  /** Whether it is all there is. */
  done?: boolean
}

/** What a page sees of this component, where it has found it by `selectComponent`. */
export interface DaziMessage {
  type(said: Said): void
  flush(): void
}

interface Inner {
  markdown: Markdown
  typewriter: Typewriter
  said: Said
}

const inners = new WeakMap<object, Inner>()

Component({
  properties: {
    /** Markdown that is shown at once. */
    text: { type: String, value: '' },
    reasoning: { type: String, value: '' },
  },
  data: {
    nodes: [] as Node[],
    isTyping: false,
    hasReasoning: false,
    isThinking: false, // it reasons, and has said nothing yet
    isOpen: false, // the reasoning is unfolded
  },
  observers: {
    'text, reasoning': function (text: string, reasoning: string) {
      if (!text && !reasoning) return
      this.type({ text, reasoning, done: true })
      this.flush()
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
    /** Type what of this answer does not stand yet. */
    type(said: Said): void {
      const inner = this.inner(said)
      inner.said = said
      this.think()
      inner.typewriter.replace(said.text)
      if (said.done) inner.typewriter.end()
    },

    /** Show at once what is there. */
    flush(): void {
      const inner = inners.get(this)
      if (inner) inner.typewriter.flush()
    },

    /** A typewriter that has ended types nothing more: an answer after the end is another one. */
    inner(said: Said): Inner {
      const known = inners.get(this)
      if (known && !known.said.done) return known
      const markdown = known ? known.markdown : createMarkdown('nodes')
      const typewriter = createTypewriter((frame) => this.draw(frame), unhurriedClock)
      const inner = { markdown, typewriter, said }
      inners.set(this, inner)
      return inner
    },

    draw({ text, done }: Frame): void {
      const inner = inners.get(this)
      if (!inner) return
      const patch = inner.markdown.update(text, done)
      if (this.data.isTyping === done) patch.isTyping = !done
      this.set(patch)
      if (done) this.triggerEvent('done')
    },

    think(): void {
      const inner = inners.get(this)
      if (!inner) return
      const { text, reasoning = '', done = false } = inner.said
      const patch: Patch = {}
      if (this.data.hasReasoning !== !!reasoning) patch.hasReasoning = !!reasoning
      const isThinking = !!reasoning && !text && !done
      if (this.data.isThinking !== isThinking) patch.isThinking = isThinking
      if (!done && !this.data.isTyping) patch.isTyping = true
      this.set(patch)
      this.typeReasoning()
    },

    typeReasoning(isOld = false): void {
      const inner = inners.get(this)
      if (!inner || !this.data.isOpen) return
      const typewriter = this.selectComponent('#reasoning')
      const { text, reasoning = '', done = false } = inner.said
      typewriter.type(reasoning, !!text || done)
      if (isOld) typewriter.flush()
    },

    set(patch: Patch): void {
      if (Object.keys(patch).length) this.setData(patch, () => this.triggerEvent('grow'))
    },

    toggle(): void {
      this.setData({ isOpen: !this.data.isOpen }, () => this.typeReasoning(true))
    },

    onGrow(): void {
      this.triggerEvent('grow')
    },

    onLink(event: WechatMiniprogram.TouchEvent): void {
      const { href } = event.currentTarget.dataset
      if (href) this.triggerEvent('link', { href })
    },

    onImage(event: WechatMiniprogram.TouchEvent): void {
      const { src } = event.currentTarget.dataset
      wx.previewImage({ urls: [src] })
    },

    onCopy(event: WechatMiniprogram.TouchEvent): void {
      const inner = inners.get(this)
      const node = inner && inner.markdown.nodes()[event.currentTarget.dataset.index]
      if (!node || !node.spans) return
      const text = node.spans.map((span) => span.text).join('')
      wx.setClipboardData({ data: text, success: () => this.triggerEvent('copy', { text }) })
    },
  },
})
