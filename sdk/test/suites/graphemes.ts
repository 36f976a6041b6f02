import { graphemeEnd } from '../../src/graphemes.js'

/** A text, cut into its graphemes. */
export function graphemes(text: string): string[] {
  const parts = []
  for (let start = 0, end = 0; start < text.length; start = end) {
    end = graphemeEnd(text, start)
    parts.push(text.slice(start, end))
  }
  return parts
}
