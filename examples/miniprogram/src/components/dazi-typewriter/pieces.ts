/**
 * A text that grows at its end, as a list of short texts, so that `setData` sends only the last of them again.
 *
 * Laws: the pieces joined are the text; applying all patches gives the pieces; of what stands already, at most one
 * piece is sent again.
 */

export type Patch = Record<string, unknown>

export interface Pieces {
  /** Take the whole text, of which the first `kept` UTF-16 units are as they were; answers what has to be set. */
  update(text: string, kept: number): Patch
}

// Short pieces, so that a frame sends few characters again; longer ones after each ten, so that there are never many.
const SHORTEST = 32
const PIECES_OF_A_LENGTH = 10

/** Make the pieces that are at `path` of the component's data, at first `[]`. */
export function createPieces(path: string): Pieces {
  let pieces: string[] = []
  let length = 0 // of all of them

  /** Cut off what no longer stands; answers whether there was any. */
  function cut(kept: number): boolean {
    if (kept >= length) return false
    while (length > kept) {
      const last = pieces.pop() || ''
      length -= last.length
      if (length < kept) push(last.slice(0, kept - length))
    }
    return true
  }

  function push(text: string): void {
    pieces.push(text)
    length += text.length
  }

  return {
    update(text, kept) {
      const wasCut = cut(Math.min(kept, text.length))
      const first = Math.max(0, pieces.length - 1)
      const before = pieces.slice(first)
      grow(text.slice(length))
      if (wasCut) return { [path]: pieces.slice() }
      const patch: Patch = {}
      pieces.slice(first).forEach((piece, index) => {
        if (piece !== before[index]) patch[`${path}[${first + index}]`] = piece
      })
      return patch
    },
  }

  function grow(more: string): void {
    if (!more) return
    const last = pieces.length - 1
    if (last < 0 || pieces[last].length >= SHORTEST * (1 + Math.floor(last / PIECES_OF_A_LENGTH))) return push(more)
    pieces[last] += more
    length += more.length
  }
}
