import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answered, asked, askedAgain, begin, lastAnswer, promptOf, type Conversation } from '../src/chat/conversation'

function said(conversation: Conversation, question: string, answer: string): Conversation {
  const next = asked(conversation, question, 1)
  return answered(next, lastAnswer(next)!.id, { text: answer, state: 'done' }, 2)
}

test('a conversation has the name of its first question', () => {
  const conversation = said(asked(begin('c', 0), '你好\n世界', 1), '第二问', '答')
  assert.equal(conversation.title, '你好 世界')
  assert.equal(conversation.changed, 2)
})

test('the model is asked with what was said, and without the answer to come', () => {
  const conversation = asked(said(begin('c', 0), '一', '壹'), '二', 3)
  assert.deepEqual(promptOf(conversation), [
    { role: 'user', content: '一' }, { role: 'assistant', content: '壹' }, { role: 'user', content: '二' },
  ])
})

test('a question that got no answer is not asked along', () => {
  const conversation = asked(said(said(begin('c', 0), '一', ''), '二', '贰'), '三', 3)
  assert.deepEqual(promptOf(conversation).map(({ content }) => content), ['二', '贰', '三'])
})

test('a long conversation is sent by its end, from a question on', () => {
  let conversation = begin('c', 0)
  for (let turn = 0; turn < 40; turn++) conversation = said(conversation, `问${turn}`, '长'.repeat(1000))
  const prompt = promptOf(asked(conversation, '最后一问', 3))
  assert.equal(prompt[prompt.length - 1].content, '最后一问')
  assert.equal(prompt[0].role, 'user')
  assert.ok(prompt.map(({ content }) => content).join('').length <= 24_000)
  assert.deepEqual(promptOf(asked(begin('c', 0), '问'.repeat(50_000), 1)).length, 1, 'the question itself is always sent')
})

test('asking again throws the last answer away', () => {
  const before = said(begin('c', 0), '一', '壹')
  const after = askedAgain(before, 3)
  assert.deepEqual(promptOf(after), [{ role: 'user', content: '一' }])
  assert.equal(lastAnswer(after)?.text, '')
  assert.notEqual(lastAnswer(after)?.id, lastAnswer(before)?.id)
})
