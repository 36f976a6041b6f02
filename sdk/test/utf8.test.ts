import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bundle, runInQuickJs, withoutTextDecoder } from './engines.js'
import { boundaryDigests, codePointDigest, cutFailures, makers } from './suites/utf8.js'

const oracle = () => {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  return { decode: (bytes: Uint8Array) => decoder.decode(bytes, { stream: true }), end: () => decoder.decode() }
}

test('the portable decoder is the standard\'s, in Node', () => {
  assert.deepEqual(boundaryDigests(makers.portable), boundaryDigests(oracle))
  assert.equal(codePointDigest(makers.portable), codePointDigest(oracle))
  assert.deepEqual(cutFailures(makers.portable), [])
})

test('the portable decoder is the standard\'s, in QuickJS', async () => {
  const answer = await runInQuickJs(
    await bundle('test/suites/utf8.ts'),
    `JSON.stringify([suite.boundaryDigests(suite.makers.chosen), suite.codePointDigest(suite.makers.chosen),
      suite.cutFailures(suite.makers.chosen)])`,
  )
  assert.deepEqual(JSON.parse(answer), [boundaryDigests(oracle), codePointDigest(oracle), []])
})

test('cuts do not show, with the platform\'s decoder and where it is hidden', () => {
  assert.deepEqual(cutFailures(makers.chosen), [])
  withoutTextDecoder(() => assert.deepEqual(cutFailures(makers.chosen), []))
})

test('an engine that has no `escape` either is only slower', () => {
  const hidden = globalThis.escape
  Reflect.deleteProperty(globalThis, 'escape')
  try {
    assert.deepEqual(cutFailures(makers.portable), [])
    assert.equal(makers.portable().decode(Buffer.from('你好\xff')), '你好\u00ff')
  } finally {
    globalThis.escape = hidden
  }
})

test('a TextDecoder that ignores `stream` is not used', () => {
  class Careless extends TextDecoder {
    override decode(bytes?: Uint8Array) {
      return super.decode(bytes)
    }
  }
  withoutTextDecoder(() => {
    globalThis.TextDecoder = Careless
    assert.deepEqual(cutFailures(makers.chosen), [])
  })
})
