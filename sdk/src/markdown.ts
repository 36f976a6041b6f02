/**
 * Markdown as it is being written, for mini programs: a list of nodes that a WXML template draws, kept up to date by
 * small patches for `setData`.
 *
 * Laws:
 * - the nodes depend on the text so far only, not on how it came;
 * - what is closed is never looked at again, nor sent again, unless the text before it changes;
 * - a patch says what changed and nothing else, and applying all of them gives the nodes;
 * - any text is Markdown: nothing is thrown, and the work is linear.
 */

import { BEGINNING, drawBlock, takeLine, type Block, type Line, type Node } from './markdown/blocks.js'
import { NOTHING, type Progress } from './markdown/inline.js'
import { addChanges, type Patch } from './markdown/patch.js'

export type { Node } from './markdown/blocks.js'
export type { Span } from './markdown/inline.js'
export type { Patch } from './markdown/patch.js'

export interface Markdown {
  /** Take the whole text so far; answers what has to be set. `done`: it is all there is. */
  update(text: string, done?: boolean): Patch
  /** Take the next piece of the text. */
  append(piece: string, done?: boolean): Patch
  /** What is to be drawn. It must not be changed. */
  nodes(): readonly Node[]
}

/** Make the Markdown of one answer, whose nodes are at `path` of the page's or component's data, at first `[]`. */
export function createMarkdown(path = 'nodes'): Markdown {
  let text = ''
  let at = 0 // where the first line begins that has not ended
  let state = BEGINNING
  const nodes: Node[] = [] // those of closed blocks, and from `closed` on those that may change
  let closed = 0
  let settled: { at: number; progress: Progress } | undefined // how far the block that begins there is settled

  function draw(block: Block, isOpen: boolean): Node {
    const known = settled && settled.at === block.at ? settled.progress : NOTHING
    const { node, progress } = drawBlock(block, known, isOpen)
    if (isOpen) settled = { at: block.at, progress }
    return node
  }

  function takeLines(drawn: Node[]): void {
    for (let end = text.indexOf('\n', at); end >= 0; end = text.indexOf('\n', at)) {
      const [blocks, next] = takeLine(state, lineTo(end, false))
      drawn.push(...blocks.map((block) => draw(block, false)))
      state = next
      at = end + 1
    }
  }

  function lineTo(end: number, isOpen: boolean): Line {
    return { text: text.slice(at, text[end - 1] === '\r' ? Math.max(at, end - 1) : end), at, isOpen }
  }

  /** The nodes of what may still change. */
  function drawTail(done: boolean): Node[] {
    const [blocks, { block }] = at < text.length ? takeLine(state, lineTo(text.length, !done)) : [[], state]
    const tail = blocks.map((ended) => draw(ended, false))
    return block ? [...tail, draw(block, !done)] : tail
  }

  function restart(): void {
    at = closed = 0
    state = BEGINNING
    settled = undefined
  }

  function update(whole: string, done = false): Patch {
    if (!whole.startsWith(text)) restart()
    text = whole
    const before = nodes.slice(closed)
    const drawn: Node[] = []
    takeLines(drawn)
    const patch: Patch = {}
    const after = [...drawn, ...drawTail(done)]
    if (closed + after.length < nodes.length) patch[path] = [...nodes.slice(0, closed), ...after]
    else addChanges(patch, path, before, after, closed)
    nodes.splice(closed, before.length, ...after)
    closed += drawn.length
    return patch
  }

  return {
    update,
    append: (piece, done) => update(text + piece, done),
    nodes: () => nodes,
  }
}
