import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asked, begin } from '../src/chat/conversation'
import { createStore, type Flight, type Storage } from '../src/chat/store'

/** As a phone keeps it: JSON, with room for so many characters. */
function createStorage(room = Infinity): Storage & { size(): number } {
  const kept = new Map<string, string>()
  const size = () => [...kept.values()].reduce((sum, value) => sum + value.length, 0)
  return {
    size,
    getStorageSync: (key) => (kept.has(key) ? JSON.parse(kept.get(key)!) : ''),
    setStorageSync(key, value) {
      const text = JSON.stringify(value)
      if (size() - (kept.get(key) || '').length + text.length > room) throw new Error('setStorageSync:fail exceed storage max size 10Mb')
      kept.set(key, text)
    },
    removeStorageSync: (key) => void kept.delete(key),
  }
}

function flightOf(conversation: string): Flight {
  return { conversation, message: 'm', body: {}, key: 'k', generation: 'g', answer: { after: '1-7', text: '一半' } }
}

test('what is written is there in another life, the latest first', () => {
  const storage = createStorage()
  for (const id of ['a', 'b', 'c']) createStore(storage).write(asked(begin(id, 0), `问题 ${id}`, 1))
  createStore(storage).write(asked(begin('a', 0), '问题 a', 2))
  const store = createStore(storage)
  assert.deepEqual(store.list().map(({ id }) => id), ['a', 'c', 'b'])
  assert.equal(store.read('b')?.messages[0].text, '问题 b')
  assert.equal(store.read('x'), undefined)
})

test('each conversation has a flight of its own, which goes with it', () => {
  const storage = createStorage()
  const store = createStore(storage)
  for (const id of ['a', 'b']) {
    store.write(asked(begin(id, 0), '问', 1))
    store.keepFlight(flightOf(id))
  }
  assert.deepEqual(createStore(storage).flight('a'), flightOf('a'))
  store.dropFlight('a')
  assert.equal(store.flight('a'), undefined)
  store.remove('b')
  assert.equal(store.flight('b'), undefined)
})

test('where the phone has no room, the oldest conversations make it', () => {
  const store = createStore(createStorage(20_000))
  for (let turn = 0; turn < 30; turn++) store.write(asked(begin(`c${turn}`, 0), '问'.repeat(2000), turn))
  const [latest, ...others] = store.list()
  assert.equal(latest.id, 'c29')
  assert.ok(others.length < 10)
  for (const { id } of store.list()) assert.ok(store.read(id), 'the list has only what is there')
})

test('a phone without any room loses nothing but what has no place', () => {
  const store = createStore(createStorage(100))
  store.write(asked(begin('a', 0), '问'.repeat(2000), 1))
  assert.equal(store.read('a'), undefined)
})

test('there are never more than a hundred, and clearing leaves nothing', () => {
  const storage = createStorage()
  const store = createStore(storage)
  for (let turn = 0; turn < 130; turn++) store.write(asked(begin(`c${turn}`, 0), '问', turn))
  store.setCurrent('c129')
  assert.equal(store.list().length, 100)
  assert.equal(store.read('c0'), undefined)
  store.clear()
  assert.ok(storage.size() <= '[]'.length)
})

test('a conversation that is too long for its key keeps its end', () => {
  const store = createStore(createStorage())
  let conversation = begin('a', 0)
  for (let turn = 0; turn < 40; turn++) conversation = asked(conversation, `${turn}${'长'.repeat(20_000)}`, turn)
  store.write(conversation)
  const { messages = [] } = store.read('a') || {}
  assert.ok(JSON.stringify(messages).length < 350_000)
  assert.deepEqual(messages[messages.length - 1], conversation.messages[conversation.messages.length - 1])
})
