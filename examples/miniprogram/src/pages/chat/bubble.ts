/** A message as the chat page draws it. */

import type { Message, Tool } from '../../chat/conversation'
import { tellError, tellFinish, tellRemedy, type Remedy } from '../../chat/words'

export interface Bubble {
  id: string
  isQuestion: boolean
  /** Of an answer that is being typed "": it goes to its component, not through the page's data. */
  text: string
  reasoning: string
  tools: Tool[]
  isAnswering: boolean
  /** Whether there is nothing to copy. */
  isEmpty: boolean
  /** What there is to say of it. */
  note: string
  isTrouble: boolean
  /** What a tap can do about trouble, and its word. */
  remedy: Remedy | ''
  remedyWord: string
}

export function bubbleOf(message: Message): Bubble {
  const isAnswering = message.state === 'answering'
  const { id, role, text, reasoning = '' } = message
  const drawn = isAnswering ? { text: '', reasoning: '' } : { text, reasoning }
  return { id, isQuestion: role === 'user', ...drawn, ...standingOf(message) }
}

/** All of a bubble but what it says. */
export function standingOf(message: Message): Pick<Bubble, 'tools' | 'isAnswering' | 'isEmpty' | 'note' | 'isTrouble' | 'remedy' | 'remedyWord'> {
  const { tools = [], state, code = '' } = message
  const isTrouble = state === 'failed'
  const { remedy, word: remedyWord } = isTrouble ? tellRemedy(code) : { remedy: '' as const, word: '' }
  return { tools, isAnswering: state === 'answering', isEmpty: !message.text, note: noteOf(message), isTrouble, remedy, remedyWord }
}

function noteOf({ state, code = '', finish = '', isRetracted }: Message): string {
  if (state === 'failed') return tellError(code)
  if (state === 'aborted') return '已停止'
  return [isRetracted ? '部分内容已被撤回' : '', tellFinish(finish)].filter((word) => word).join(' · ')
}
