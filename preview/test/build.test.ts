/** The builder: what DevTools would make of a folder, and what it would refuse. */

import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { buildProgram } from '../src/build/program.js'
import { wordsOf } from '../src/build/problems.js'

const FIXTURE = fileURLToPath(new URL('fixture', import.meta.url))

function folder(files: Record<string, string>): string {
  const place = mkdtempSync(join(tmpdir(), 'preview-'))
  const page = { 'app.json': '{"pages":["p"]}', 'app.js': 'App({})', 'p.js': 'Page({})', 'p.wxml': '<view/>' }
  for (const [name, text] of Object.entries({ ...page, ...files })) {
    mkdirSync(dirname(join(place, name)), { recursive: true })
    writeFileSync(join(place, name), text)
  }
  return place
}

const problemsOf = (files: Record<string, string>) => buildProgram(folder(files)).problems.map(wordsOf)

test('the fixture is built without a problem', () => {
  assert.deepEqual(buildProgram(FIXTURE).problems, [])
})

test('rpx become shares of the width, types become our elements, a component has a prefix of its own', () => {
  const program = buildProgram(
    folder({
      'p.wxss': 'view.a > text { width: 75rpx; margin: -1.5rpx auto }',
      'p.json': '{"usingComponents":{"c":"c/c"}}',
      'c/c.json': '{"component":true}',
      'c/c.js': 'Component({})',
      'c/c.wxml': '<view class="a"/>',
      'c/c.wxss': ':host { color: red } .a .b:hover { top: 0 } @keyframes k { from { top: 0 } }',
    }),
  )
  assert.equal(program.parts['p']?.css, 'wx-view.a > wx-text { width: 10vw; margin: -0.2vw auto }')
  const { scope = '', css = '' } = program.parts['c/c'] || {}
  assert.equal(css, `[wx-host=${scope}] { color: red } .${scope}--a .${scope}--b:hover { top: 0 } @keyframes k { from { top: 0 } }`)
})

test('packages are found where "build npm" puts them, and where npm does', () => {
  const built = buildProgram(
    folder({
      'p.js': "require('one'); require('two/part')",
      'miniprogram_npm/one/index.js': '',
      'node_modules/two/package.json': '{"miniprogram":"mp"}',
      'node_modules/two/mp/part.js': 'exports.two = 2',
    }),
  )
  assert.deepEqual(built.problems, [])
  assert.deepEqual(built.modules['p.js']?.requires, { one: 'miniprogram_npm/one/index.js', 'two/part': 'miniprogram_npm/two/part.js' })
  assert.equal(built.modules['miniprogram_npm/two/part.js']?.code, 'exports.two = 2')
})

for (const [what, files, words] of [
  ['a template that does not close', { 'p.wxml': '<view>\n<text></view>' }, /^p\.wxml:\d+: /],
  ['a tag that nobody knows', { 'p.wxml': '<widget/>' }, /^p\.wxml: <widget> is neither/],
  ['a module that is not there', { 'p.js': "require('./q')" }, /^p\.js: require\("\.\/q"\): there is no such module/],
  [
    'a component that is not there',
    { 'p.json': '{"usingComponents":{"c":"./c"}}' },
    /^p\.json: usingComponents: c: there is no component \.\/c/,
  ],
  ['a style sheet that does not close', { 'p.wxss': '.a {' }, /^p\.wxss:1: Unclosed block/],
  ['an import that is not there', { 'p.wxss': '@import "q.wxss";' }, /^p\.wxss:1: @import q\.wxss/],
  ['JSON that is none', { 'p.json': '{' }, /^p\.json: SyntaxError/],
  ['a page without a template', { 'app.json': '{"pages":["p","q"]}', 'q.js': 'Page({})' }, /^q\.wxml: There is no such file/],
] as const) {
  test(`is told: ${what}`, () => {
    const problems = problemsOf(files)
    assert.ok(
      problems.some((problem) => words.test(problem)),
      problems.join('\n'),
    )
  })
}

test('the project names the folder and the appid', () => {
  const place = folder({})
  const outer = mkdtempSync(join(tmpdir(), 'preview-'))
  cpSync(place, join(outer, 'dist'), { recursive: true })
  writeFileSync(join(outer, 'project.config.json'), '{"miniprogramRoot":"dist/","appid":"wx1"}')
  const { appid, app, problems } = buildProgram(outer)
  assert.deepEqual([appid, app.pages, problems], ['wx1', ['p'], []])
})

test('a folder that is no mini program is refused by name', () => {
  assert.throws(() => buildProgram(tmpdir()), /is no mini program: there is no app\.json in it/)
})
