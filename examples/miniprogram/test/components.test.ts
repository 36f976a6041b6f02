import assert from 'node:assert/strict'
import { test } from 'node:test'
import { draw, until } from './page'

const ANSWER = '# 标题\n\n**粗** 和 `代码` 👨‍👩‍👧‍👦。\n\n```js\na  b\n```\n\n| 甲 | 乙 |\n|---|---|\n| 一 | 二 |\n\n- 一\n  - 二\n\n> 引用\n'
const SEEN = '标题粗 和 代码 👨‍👩‍👧‍👦。js复制a  b甲乙一二•一•二引用'

test('a message that stands is drawn at once', () => {
  const message = draw('dazi-message', { text: ANSWER })
  assert.equal(message.text(), SEEN)
  assert.ok(!message.find('.typing'))
})

test('a message is typed as it grows, and ends as the one that stands', async () => {
  const message = draw('dazi-message')
  for (let at = 0; at <= ANSWER.length; at += 7) message.instance.type({ text: ANSWER.slice(0, at) })
  await until(() => message.text().includes('标题'))
  assert.ok(message.find('.typing'), 'there is no caret while it is typed')
  assert.notEqual(message.text(), SEEN)
  message.instance.type({ text: ANSWER, done: true })
  await until(() => message.events.includes('done'))
  assert.equal(message.text(), SEEN)
  assert.ok(!message.find('.typing'))
  assert.ok(message.events.filter((event) => event === 'grow').length > 3)
})

test('what stands is not sent again', async () => {
  const message = draw('dazi-message')
  message.instance.type({ text: `${'很长的一段。'.repeat(200)}\n\n结尾` })
  message.instance.flush()
  message.patches.length = 0
  message.instance.type({ text: `${'很长的一段。'.repeat(200)}\n\n结尾在此`, done: true })
  await until(() => message.events.includes('done'))
  assert.ok(message.patches.join('').length < 200, message.patches.join('\n'))
})

test('what was withdrawn is gone', async () => {
  const message = draw('dazi-message')
  message.instance.type({ text: '这一段是要撤回的' })
  message.instance.flush()
  message.instance.type({ text: '已撤回。', done: true })
  await until(() => message.events.includes('done'))
  assert.equal(message.text(), '已撤回。')
})

test('an answer after the end takes its place', async () => {
  const message = draw('dazi-message')
  message.instance.type({ text: '第一次', done: true })
  await until(() => message.events.includes('done'))
  message.instance.type({ text: '第一次，接着写', done: true })
  await until(() => message.text() === '第一次，接着写')
})

test('reasoning is folded away, and costs nothing until it is looked at', async () => {
  const message = draw('dazi-message')
  for (let at = 1; at <= 20; at++) message.instance.type({ text: '', reasoning: '想一想。'.repeat(at) })
  assert.equal(message.text(), '正在思考')
  assert.equal(message.patches.length, 1)
  message.instance.toggle()
  assert.equal(message.text(), `正在思考${'想一想。'.repeat(20)}`.slice(0, message.text().length))
  message.instance.type({ text: '好了', reasoning: '想一想。'.repeat(20), done: true })
  await until(() => message.text() === `思考过程${'想一想。'.repeat(20)}好了`)
  message.instance.toggle()
  assert.equal(message.text(), '思考过程好了')
})

test('a page that goes sends nothing more to its components', async () => {
  const message = draw('dazi-message')
  message.instance.type({ text: '一二三四五六七八九十'.repeat(20) })
  message.remove()
  message.patches.length = 0
  await new Promise((resolve) => setTimeout(resolve, 200))
  assert.deepEqual(message.patches, [])
})

test('a plain text is typed by property', async () => {
  const typewriter = draw('dazi-typewriter', { text: '你好，👨‍👩‍👧‍👦 世界', done: true })
  await until(() => typewriter.events.includes('done'))
  assert.equal(typewriter.text(), '你好，👨‍👩‍👧‍👦 世界')
  const instant = draw('dazi-typewriter', { text: '立刻', done: true, instant: true })
  assert.equal(instant.text(), '立刻')
})

test('a plain text is typed by method, and may be replaced', async () => {
  const typewriter = draw('dazi-typewriter')
  typewriter.instance.type('这里说错了')
  typewriter.instance.flush()
  typewriter.instance.type('这里说对了', true)
  await until(() => typewriter.events.includes('done'))
  assert.equal(typewriter.text(), '这里说对了')
})
