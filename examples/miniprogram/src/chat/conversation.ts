/**
 * A conversation, and what happens to it, as pure functions: each answers a new one.
 *
 * Laws: questions and answers take turns; an answer stands under its id whatever becomes of it; what is sent to the
 * model is bounded.
 */

export type State = 'answering' | 'done' | 'aborted' | 'failed'

export interface Tool {
  name: string
  arguments: string
}

export interface Message {
  id: string
  role: 'user' | 'assistant'
  text: string
  /** The rest is an answer's. */
  reasoning?: string
  tools?: Tool[]
  state?: State
  /** Of a failure: its code, in PROTOCOL.md's words. */
  code?: string
  /** Why the model stopped, where it was not of itself: `length`, `content_filter`, … */
  finish?: string
  /** Whether something that was said has been withdrawn. */
  isRetracted?: boolean
}

export interface Conversation {
  id: string
  title: string
  /** When it last changed, in milliseconds. */
  changed: number
  messages: Message[]
}

/** As the gateway wants it. */
export interface PromptMessage {
  role: 'user' | 'assistant'
  content: string
}

const TITLE_LENGTH = 24

// About as much as a small model can read; the latest is what matters.
const MOST_PROMPT = 24_000

export function begin(id: string, now: number): Conversation {
  return { id, title: '', changed: now, messages: [] }
}

/** Not a secret: it only has to differ from the others on this phone. */
export function randomId(): string {
  return Date.now().toString(36) + Math.random().toString(36).slice(2, 10)
}

/** A question, and its answer, which is empty yet. */
export function asked(conversation: Conversation, text: string, now: number): Conversation {
  const question: Message = { id: randomId(), role: 'user', text }
  const title = conversation.title || text.replace(/\s+/g, ' ').slice(0, TITLE_LENGTH)
  return { ...conversation, title, changed: now, messages: [...conversation.messages, question, emptyAnswer()] }
}

/** The last answer is thrown away, and another one takes its place. */
export function askedAgain(conversation: Conversation, now: number): Conversation {
  return { ...conversation, changed: now, messages: [...conversation.messages.slice(0, -1), emptyAnswer()] }
}

function emptyAnswer(): Message {
  return { id: randomId(), role: 'assistant', text: '', state: 'answering' }
}

/** What is known of an answer now. */
export function answered(conversation: Conversation, id: string, news: Partial<Message>, now: number): Conversation {
  const messages = conversation.messages.map((message) => (message.id === id ? { ...message, ...news } : message))
  return { ...conversation, changed: now, messages }
}

/** What is sent to the model: the latest that fits, without the answer that is to come, nor questions left unanswered. */
export function promptOf({ messages }: Conversation): PromptMessage[] {
  const before = messages.slice(0, -1)
  const said = before.filter(({ text }, index) => text && (index === before.length - 1 || !isUnanswered(before, index)))
  const prompt: PromptMessage[] = []
  let length = 0
  for (const { role, text } of said.reverse()) {
    length += text.length
    if (prompt.length && length > MOST_PROMPT) break
    prompt.unshift({ role, content: text })
  }
  return prompt[0] && prompt[0].role === 'assistant' ? prompt.slice(1) : prompt
}

function isUnanswered(messages: Message[], index: number): boolean {
  return messages[index].role === 'user' && !messages[index + 1].text
}

export function lastAnswer({ messages }: Conversation): Message | undefined {
  const last = messages[messages.length - 1]
  return last && last.role === 'assistant' ? last : undefined
}
