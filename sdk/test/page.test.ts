import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
// @ts-expect-error: a script, without types
import { bundled, file } from '../scripts/page.mjs'

test('the chat page is built from this SDK', async () => {
  assert.equal(readFileSync(file, 'utf8'), await bundled(), 'run `npm run page` in sdk/, and commit what it writes')
})
