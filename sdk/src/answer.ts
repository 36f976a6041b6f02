/**
 * The events of a generation, and the answer that they fold into.
 *
 * PROTOCOL.md, section 4, is their definition. Unknown types and fields are ignored.
 */

export interface ToolCall {
  index: number
  call_id?: string
  name?: string
  arguments: string
}

export interface Answer {
  readonly text: string
  readonly reasoning: string
  readonly toolCalls: readonly ToolCall[]
  /** Which model answers; "" until it is known. */
  readonly model: string
  /** Whether something that was said has been withdrawn. */
  readonly isRetracted: boolean
}

/** How an answer ended. */
export interface End {
  readonly type: 'done' | 'failed' | 'aborted'
  readonly finish_reason?: string
  /** Of a failure: stable, for programs. */
  readonly code?: string
  /** Of a failure: for people. */
  readonly message?: string
  /** Of a failure: whether asking again may help. */
  readonly retryable?: boolean
  readonly usage?: object
}

/** An event as it is on the wire. */
export interface WireEvent {
  type: string
  id?: string
  call_id?: string
  text?: string
  n?: number
  crc32?: number
  reasoning?: string
  tool_calls?: ToolCall[]
  index?: number
  name?: string
  arguments?: string
  generation?: string
  model?: string
}

export const EMPTY: Answer = { text: '', reasoning: '', toolCalls: [], model: '', isRetracted: false }

const FOLDS: Record<string, (answer: Answer, event: WireEvent) => Answer> = {
  started: (answer, event) => ({ ...answer, model: event.model || '' }),
  text: (answer, event) => ({ ...answer, text: answer.text + event.text }),
  reasoning: (answer, event) => ({ ...answer, reasoning: answer.reasoning + event.text }),
  retract: (answer, event) => ({ ...answer, text: event.text || '', isRetracted: true }),
  snapshot: (answer, { text = '', reasoning, tool_calls = [], model = answer.model }) => ({ ...answer, text, reasoning: reasoning || '', toolCalls: tool_calls, model }),
  tool_call: (answer, event) => ({ ...answer, toolCalls: withPiece(answer.toolCalls, event) }),
}

export function fold(answer: Answer, event: WireEvent): Answer {
  const step = FOLDS[event.type]
  return step ? step(answer, event) : answer
}

function withPiece(calls: readonly ToolCall[], event: WireEvent): ToolCall[] {
  const index = event.index || 0
  const before = calls.find((call) => call.index === index) || { index, arguments: '' }
  const call = { ...before, arguments: before.arguments + (event.arguments || '') }
  if (event.call_id !== undefined) call.call_id = event.call_id
  if (event.name !== undefined) call.name = event.name
  return [...calls.filter((other) => other.index !== index), call].sort((a, b) => a.index - b.index)
}

export function isEnd(event: { type: string }): event is End {
  return event.type === 'done' || event.type === 'failed' || event.type === 'aborted'
}

/** Whether the answer, with the event folded in, is what the event says it is. */
export function isProven(answer: Answer, event: WireEvent): boolean {
  const part = event.type === 'reasoning' ? answer.reasoning : answer.text
  if (event.n !== undefined && event.n !== part.length) return false
  if (event.crc32 === undefined) return true
  try {
    return event.crc32 === crc32(answer.text)
  } catch {
    return false // half a surrogate pair, which is no text that a gateway sends
  }
}

/** zlib's CRC-32 of the text's UTF-8, as an unsigned number. The text has to be valid Unicode. */
export function crc32(text: string): number {
  let crc = -1
  // `encodeURIComponent` writes UTF-8, each byte as `%` and two digits, or as the character of ASCII that it is.
  for (const byte of encodeURIComponent(text).match(/%..|./g) || []) {
    crc ^= byte[1] ? parseInt(byte.slice(1), 16) : byte.charCodeAt(0)
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 && 0xedb88320)
  }
  return ~crc >>> 0
}
