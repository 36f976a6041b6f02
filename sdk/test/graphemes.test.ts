import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { UNICODE_VERSION } from '../src/graphemes.js'
import { graphemes } from './suites/graphemes.js'

const samples = readFileSync(new URL(`data/GraphemeBreakTest-${UNICODE_VERSION}.0.txt`, import.meta.url), 'utf8')
  .split('\n')
  .map((line) => line.replace(/#.*/, '').trim())
  .filter(Boolean)

test('graphemes are those of the Unicode test', () => {
  assert.ok(samples.length > 600)
  for (const sample of samples) {
    const wanted = sample.split('÷').filter(Boolean).map((part) => String.fromCodePoint(...part.trim().split(/\s*×\s*|\s+/).map((hex) => parseInt(hex, 16))))
    assert.deepEqual(graphemes(wanted.join('')), wanted, sample)
  }
})
