/**
 * The engine beside WeChat's own compilers of 2020 (npm `miniprogram-compiler`, programs for Linux on x86-64): what both make of
 * a template, where they agree and where they are known not to.
 */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import vm from 'node:vm'
import type { glassEasel as GlassEasel } from 'glass-easel-miniprogram-adapter'
import { openFolder } from '../src/build/folder.js'
import { compileWxml } from '../src/build/wxml.js'

const require = createRequire(import.meta.url)
const { glassEasel } = require('glass-easel-miniprogram-adapter') as { glassEasel: typeof GlassEasel }
const FIXTURE = fileURLToPath(new URL('fixture', import.meta.url))
const BIN = join(dirname(require.resolve('miniprogram-compiler/package.json')), 'bin/linux')
const skip = process.platform === 'linux' && process.arch === 'x64' ? false : 'the compilers are programs for Linux on x86-64'

function compile(program: 'wcc' | 'wcsc', folder: string, ...options: string[]): string {
  chmodSync(join(BIN, program), 0o755) // the package was unpacked without its install script
  execFileSync(join(BIN, program), [...options, '-o', join(folder, 'out')], { cwd: folder, stdio: 'pipe' })
  return readFileSync(join(folder, 'out'), 'utf8')
}

function folderOf(template: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'truth-'))
  writeFileSync(join(folder, 'app.json'), '{}')
  writeFileSync(join(folder, 'p.wxml'), template)
  return folder
}

type Tree = string | number | { children?: Tree[] }
const textOf = (node: Tree): string => (typeof node === 'object' ? (node.children || []).map(textOf).join('') : String(node))

/** What WeChat's compiler renders. */
function theirs(template: string, data: object): string {
  const context: vm.Context = vm.createContext({ console: { log() {}, warn() {}, error() {} }, data })
  context['window'] = context
  vm.runInContext(compile('wcc', folderOf(template), '-d', 'p.wxml'), context)
  return textOf(vm.runInContext("$gwx('p.wxml')(data)", context) as Tree)
}

interface Node {
  textContent?: string
  childNodes?: Node[]
}
const shown = ({ textContent = '', childNodes }: Node): string => (childNodes ? childNodes.map(shown).join('') : textContent)

/** What ours does, without a browser. */
function ours(template: string, data: object): string {
  const { code, problems } = compileWxml(openFolder(folderOf(template)), ['p'])
  assert.deepEqual(problems, [])
  const groupList = new Function(`return ${code}`)() as Record<string, never>
  const space = new glassEasel.ComponentSpace()
  const definition = space.defineComponent({ is: 'p', template: { groupList, content: groupList['p'] } as never, data: { ...data } })
  const component = glassEasel.Component.createWithContext('p', definition.general(), new glassEasel.EmptyBackendContext())
  return shown(component.getShadowRoot() as Node)
}

const AGREED: [template: string, data: object][] = [
  ['<view wx:for="{{3}}">{{index}}{{item}}</view>', {}],
  ['<view wx:for="{{list}}">{{item.x}},</view>', { list: [{ x: 1 }, {}, { x: '二' }] }],
  ['<view wx:for="{{object}}" wx:for-index="key">{{key}}={{item}};</view>', { object: { a: 1, b: 2 } }],
  ['<view wx:for="{{a}}" wx:for-item="x"><view wx:for="{{x}}" wx:for-item="y">{{y}}</view>|</view>', { a: [[1, 2], [3]] }],
  ['<view wx:if="{{s}}">yes</view><view wx:elif="{{n > 1}}">{{n}}</view><view wx:else>no</view>', { s: '', n: 2 }],
  ['<view wx:if="{{s.length > 2 && n}}">{{n ? "a" : "b"}}</view>', { s: 'abc', n: 1 }],
  ['{{1 + 2}}{{"1" + 2}}{{!a}}{{a || "x"}}{{b.c.d}}{{b[\'c\']}}', { b: {} }],
  ['{{undefined}}|{{zero}}|{{no}}|{{list}}|{{object}}|{{nan}}', { zero: 0, no: false, list: [1, 2], object: {}, nan: NaN }],
  ['a {{ b }} c\n  d', { b: 1 }],
  ['<template name="t">{{x}}{{y}}</template><template is="t" data="{{x: 1, ...o}}"/>', { o: { y: 2 } }],
  ['<block wx:for="{{2}}"><text>{{item}}</text></block>', {}],
  ['<wxs module="m">module.exports = { f: function (a) { return a.constructor + typeof a } }</wxs>{{m.f("x")}}{{m.f(1)}}{{m.f([])}}', {}],
  ['<wxs module="m">module.exports = getRegExp("b+", "g")</wxs>{{m.source}}', {}],
  [`<wxs module="m">/* it's */ var r = getRegExp('^-?\\d+(\\.\\d)?\\b\\s', "g") // "\nmodule.exports = { is: function (a) { return r.test(a) }, text: r.source }</wxs>{{m.is('-1.5 ')}}{{m.text}}`, {}],
]

for (const [template, data] of AGREED) {
  test(`as WeChat's compiler: ${template}`, { skip }, () => assert.equal(ours(template, data), theirs(template, data)))
}

// The README tells of these.
const DIFFERENT: [template: string, data: object, ours: string, theirs: string][] = [
  ['{{a}}', { a: null }, '', 'null'],
  ['&lt;', {}, '<', '&lt;'],
]

for (const [template, data, our, their] of DIFFERENT) {
  test(`known to differ: ${template}`, { skip }, () => assert.deepEqual([ours(template, data), theirs(template, data)], [our, their]))
}

test('what is no template is refused by both', { skip }, () => {
  for (const template of ['<view>', '<view wx:elif="{{a}}"/>', '<view a="{{b c}}"/>', '<view></text>', '{{`x`}}', '{{a => 1}}']) {
    assert.throws(() => theirs(template, {}), template)
    assert.throws(() => ours(template, {}), template)
  }
})

test("the fixture's templates and styles pass WeChat's compilers", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'truth-'))
  cpSync(FIXTURE, folder, { recursive: true })
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => relative('.', name))
  compile('wcc', folder, '-d', ...files.filter((name) => /\.wx(ml|s)$/.test(name)))
  for (const name of files.filter((one) => one.endsWith('.wxss'))) compile('wcsc', folder, '-lc', name)
  assert.ok(existsSync(join(folder, 'out')))
})
