import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { createMarkdown, type Node, type Patch } from '../src/markdown.js'
import { createTypewriter } from '../src/typewriter.js'
import { createClock } from './clock.js'
import { graphemes } from './suites/graphemes.js'
import { randomNumbers } from './suites/sse.js'

const ANSWER = readFileSync(new URL('data/answer.md', import.meta.url), 'utf8')

function nodesOf(text: string, done = true): readonly Node[] {
  const markdown = createMarkdown()
  markdown.update(text, done)
  return markdown.nodes()
}

/** The nodes as short text: what tests compare. */
function outline(text: string, done = true): string[] {
  return nodesOf(text, done).map((node) => {
    const { type, level = '', depth = '', quote, marker = '', language = '', spans = [], rows, align } = node
    const cells = rows && rows.map((row) => row.map(inlineOf).join('|')).join('/')
    return `${quote ? '>'.repeat(quote) : ''}${type}${level}${depth}${marker}${language && `:${language}`} ${cells === undefined ? inlineOf(spans) : `${align}: ${cells}`}`.trim()
  })
}

function inlineOf(spans: Node['spans'] = []): string {
  const merged: { text: string; style: string }[] = []
  for (const { text, marks = '', href, image } of spans) {
    const style = [marks, href && `-> ${href}`, image && `image ${image}`].filter(Boolean).join(' ')
    const last = merged[merged.length - 1]
    if (last && last.style === style) last.text += text
    else merged.push({ text, style })
  }
  return merged.map(({ text, style }) => (style ? `{${text}: ${style}}` : text)).join('')
}

/** What `setData` does. */
function apply(data: Record<string, unknown>, patch: Patch): void {
  for (const [path, value] of Object.entries(patch)) {
    const keys = path.split(/[.[\]]+/).filter(Boolean)
    const last = keys.pop() as string
    // A tree of any shape, hence the casts.
    const target = keys.reduce((node, key) => node[key] as Record<string, unknown>, data)
    assert.ok(target && typeof target === 'object', `${path} leads nowhere`)
    if (Array.isArray(target)) assert.ok(+last <= target.length, `${path} leaves a hole`)
    target[last] = structuredClone(value)
  }
}

const CASES: [string, string[]][] = [
  ['# One\n## Two ##\ntext', ['heading1 One', 'heading2 Two', 'paragraph text']],
  ['a\nb\n\nc', ['paragraph a\nb', 'paragraph c']],
  ['**b** *i* ***bi*** `c` ~~d~~', ['paragraph {b: strong} {i: em} {bi: strong em} {c: code} {d: del}']],
  ['**bold *it***', ['paragraph {bold : strong}{it: strong em}']],
  ['中文**“重点”**中文', ['paragraph 中文{“重点”: strong}中文']],
  ['snake_case_name and 2 * 3 * 4', ['paragraph snake_case_name and 2 * 3 * 4']],
  ['**not closed\n\n`nor this', ['paragraph **not closed', 'paragraph `nor this']],
  ['- a\n- b\n  - c\n\n    more\n1. d\n2) e', ['item1• a', 'item1• b', 'item2• c', 'paragraph2 more', 'item11. d', 'item12. e']],
  ['- [ ] a\n- [x] b', ['item1☐ a', 'item1☑ b']],
  ['1. a\n\n   b\n2. c', ['item11. a', 'paragraph1 b', 'item12. c']],
  ['in\n2024. Then', ['paragraph in\n2024. Then']],
  ['> a\n>> b\nc', ['>paragraph a', '>>paragraph b', 'paragraph c']],
  ['> ```\n> x\ny', ['>code x', 'paragraph y']],
  ['```py\na  b\n\n  c\n```\n# d', ['code:py a  b\n\n  c', 'heading1 d']],
  ['- x\n  ```js\n  a\n    b\n  ```', ['item1• x', 'code1:js a\n  b']],
  ['~~~~\n~~~\n```\n~~~~', ['code ~~~\n```']],
  ['---\n***\n- - -\na\n---\nb', ['rule', 'rule', 'rule', 'paragraph a', 'rule', 'paragraph b']],
  ['| a | b |\n|:--|--:|\n| **c** | d\\|e |\n| f |\n\ng', ['table left,right: a|b/{c: strong}|d|e/f|', 'paragraph g']],
  ['a | b\n--|:-:\nc | d', ['table ,center: a|b/c|d']],
  ['| no table |', ['paragraph | no table |']],
  ['[a **b**](https://x.y/z_(w) "t") ![p](http://i/j.png)', ['paragraph {a : -> https://x.y/z_(w)}{b: strong -> https://x.y/z_(w)} {p: image http://i/j.png}']],
  ['[a](javascript:alert(1)) [b](/c) ![d](data:x) <mailto:e@f>', ['paragraph a b d {mailto:e@f: -> mailto:e@f}']],
  ['见https://a.b/c?d=1。(https://e.f/g), https://a_b_c.d', ['paragraph 见{https://a.b/c?d=1: -> https://a.b/c?d=1}。({https://e.f/g: -> https://e.f/g}), {https://a_b_c.d: -> https://a_b_c.d}']],
  ['[1] and ![x and a]b', ['paragraph [1] and ![x and a]b']],
  ['![x [y', ['paragraph ![x [y']],
  ['\\*a\\* a<br>b &lt;&amp;&gt; <b>', ['paragraph *a* a\nb <&> <b>']],
  ['``a`b`` ` c `', ['paragraph {a`b: code} { c : code}'.replace('{ c :', '{c:')]],
  ['a\r\nb\r\n\r\n# c\r\n', ['paragraph a\nb', 'heading1 c']],
]

for (const [text, wanted] of CASES) {
  test(`drawn: ${JSON.stringify(text)}`, () => assert.deepEqual(outline(text), wanted))
}

const HALVES: [string, string[]][] = [
  ['a **b', ['paragraph a {b: strong}']],
  ['a **b*', ['paragraph a {b: strong}']],
  ['a **', ['paragraph a']],
  ['a `b', ['paragraph a {b: code}']],
  ['a ~~b', ['paragraph a {b: del}']],
  ['a [b', ['paragraph a b']],
  ['a [b](https://exa', ['paragraph a b']],
  ['a ![b](http', ['paragraph a']],
  ['a\n#', ['paragraph a']],
  ['a\n\n``', ['paragraph a']],
  ['a\n\n1.', ['paragraph a']],
  ['```py', ['code']],
  ['```py\nx\n``', ['code:py x']],
  ['| a | **b', ['table ,: a|{b: strong}']],
  ['| a | b |\n|--', ['table ,: a|b']],
  ['| a | b |\n|--|--|\n| c', ['table ,: a|b/c|']],
]

for (const [text, wanted] of HALVES) {
  test(`half open: ${JSON.stringify(text)}`, () => assert.deepEqual(outline(text, false), wanted))
}

const ATOMS = ['a', '你', ' ', ' ', '\n', '\n', '\n\n', '*', '**', '_', '`', '```', '~~', '#', '# ', '- ', '1. ', '> ', '|', '|--|--|', '[', '](', 'https://', 'x.y', ')', '!', '\\', '&', '&lt;',
  '<br>', '\r\n', '- [x] ', '---', '  ', '\t', 'word ', '👨‍👩‍👧', '<', '>', '(', ':', 'h']

function randomText(random: () => number): string {
  return Array.from({ length: 1 + Math.floor(random() * 60) }, () => ATOMS[Math.floor(random() * ATOMS.length)]).join('')
}

function checkCuts(text: string, cuts: Iterable<number>): void {
  const markdown = createMarkdown()
  const data: Record<string, unknown> = { nodes: [] }
  for (const cut of cuts) {
    apply(data, markdown.update(text.slice(0, cut)))
    assert.deepEqual(markdown.nodes(), nodesOf(text.slice(0, cut), false), JSON.stringify(text.slice(0, cut)))
    assert.deepEqual(data['nodes'], markdown.nodes(), JSON.stringify(text.slice(0, cut)))
  }
  apply(data, markdown.update(text, true))
  assert.deepEqual(data['nodes'], nodesOf(text), JSON.stringify(text))
}

function cutsOf(length: number, step: () => number): number[] {
  const cuts = []
  for (let at = step(); at < length; at += step()) cuts.push(at)
  return [...cuts, length]
}

test('the answer, character by character, is at every cut what it is whole', () => {
  checkCuts(ANSWER, cutsOf(ANSWER.length, () => 1))
})

test('any text, however it is cut, is at every cut what it is whole', () => {
  for (let seed = 0; seed < Number(process.env['DAZI_MARKDOWN_RUNS'] || 150); seed++) {
    const random = randomNumbers(seed)
    const text = randomText(random)
    checkCuts(text, cutsOf(text.length, seed % 2 ? () => 1 : () => 1 + Math.floor(random() * 9)))
  }
})

test('a text that is taken back is drawn anew', () => {
  const markdown = createMarkdown('page.nodes')
  const data: Record<string, unknown> = { page: { nodes: [] } }
  for (const text of ['# a\n\nb\n\nc', 'no **more', '', 'x\n\ny']) {
    apply(data, markdown.update(text))
    assert.deepEqual(data, { page: { nodes: nodesOf(text, false) } })
  }
  assert.deepEqual(markdown.update('x\n\ny'), {})
})

test('pieces are taken as the whole text is', () => {
  const markdown = createMarkdown()
  for (const unit of ANSWER) markdown.append(unit)
  markdown.append('', true)
  assert.deepEqual(markdown.nodes(), nodesOf(ANSWER))
})

/** All patches of an answer that comes at 60 characters a second, as the typewriter shows it. */
function typedPatches(answer: string): Patch[] {
  const clock = createClock()
  const markdown = createMarkdown()
  const patches: Patch[] = []
  const typewriter = createTypewriter(({ text, done }) => patches.push(markdown.update(text, done)), clock)
  for (let at = 0; at < answer.length; at += 2) {
    typewriter.append(answer.slice(at, at + 2))
    clock.advance(2000 / 60)
  }
  typewriter.end()
  clock.advance(1000)
  return patches
}

test('an answer of 1,679 characters costs setData 40 KB at most, and few children', (context) => {
  const answer = ANSWER.slice(0, 1679)
  const patches = typedPatches(answer)
  const bytes = patches.reduce((sum, patch) => sum + Buffer.byteLength(JSON.stringify(patch)), 0)
  context.diagnostic(`${patches.length} updates, ${bytes} bytes`)
  assert.ok(ANSWER.length >= 1679 && patches.length > 400, `${patches.length}`)
  assert.ok(bytes <= 40 * 1024, `${bytes}`)
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  assert.ok(readme.includes(`costs ${Math.ceil(bytes / 1024)} KB of \`setData\` in ${patches.length} updates`), 'the README should say so')
  for (const { spans = [] } of nodesOf('长'.repeat(5000) + ANSWER)) assert.ok(spans.length < 60)
})

test('no span ends inside a grapheme', () => {
  const family = '👨‍👩‍👧 e\u0301 字\ufe00が\u3099🇨🇳 '
  for (const { spans = [] } of nodesOf(family.repeat(200) + '字\u{e0100}か\u3099'.repeat(200))) {
    assert.deepEqual(spans.flatMap(({ text }) => graphemes(text)), graphemes(spans.map(({ text }) => text).join('')))
  }
})

const LONG = {
  answers: (size: number) => ANSWER.repeat(Math.ceil(size / ANSWER.length)).slice(0, size),
  'one line': (size: number) => 'word 字 '.repeat(size / 7),
  stars: (size: number) => '*a '.repeat(size / 3),
  brackets: (size: number) => '['.repeat(size),
  backticks: (size: number) => '`a``b'.repeat(size / 5),
  'one fence': (size: number) => '```\n' + 'line of code\n'.repeat(size / 13),
  quotes: (size: number) => '>'.repeat(size),
  spaces: (size: number) => ' '.repeat(size) + 'x',
}

for (const [name, make] of Object.entries(LONG)) {
  test(`the work is linear: ${name}`, () => {
    const time = (size: number) => {
      const text = make(size)
      const start = process.cpuUsage()
      const markdown = createMarkdown()
      for (let at = 40; at < text.length + 40; at += 40) markdown.update(text.slice(0, at), at >= text.length)
      const { user, system } = process.cpuUsage(start)
      return (user + system) / 1000
    }
    time(5000)
    const [small, large] = [Math.min(time(5000), time(5000)), time(40_000)]
    // A quadratic parse takes 64 times as long; copying and comparing text is quadratic, too, but for memcpy.
    assert.ok(large < 24 * small + 1500, `${small.toFixed()} ms for 5,000 characters, ${large.toFixed()} ms for 40,000`)
  })
}
