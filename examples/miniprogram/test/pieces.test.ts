import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPieces } from '../src/components/dazi-typewriter/pieces'

/** What `setData` makes of patches. */
function apply(pieces: string[], patch: Record<string, unknown>): string[] {
  let after = pieces.slice()
  for (const [path, value] of Object.entries(patch)) {
    const at = /^pieces\[(\d+)\]$/.exec(path)
    if (at) after[Number(at[1])] = String(value)
    else after = (value as string[]).slice()
  }
  return after
}

test('the patches give the text, however it grows and is cut', () => {
  const pieces = createPieces('pieces')
  let shown: string[] = []
  let text = ''
  let seed = 1
  const random = (most: number) => (seed = (seed * 48_271) % 2_147_483_647) % most
  for (let turn = 0; turn < 3000; turn++) {
    const kept = random(10) ? text.length : random(text.length + 1)
    text = text.slice(0, kept) + String(turn).repeat(random(4))
    shown = apply(shown, pieces.update(text, kept))
    assert.equal(shown.join(''), text)
  }
})

test('a long text is few pieces, and a frame sends little again', () => {
  const pieces = createPieces('pieces')
  let sent = 0
  let shown: string[] = []
  for (let length = 4; length <= 20_000; length += 4) {
    const patch = pieces.update('字'.repeat(length), length - 4)
    sent += JSON.stringify(patch).length
    shown = apply(shown, patch)
  }
  assert.ok(shown.length < 150, `${shown.length} pieces`)
  assert.ok(sent < 20_000 * 60, `${sent} characters were sent`)
})
