/**
 * Markdown by lines: which block a line opens, goes on with, or closes.
 *
 * Pure: a state and a line give the next state and the blocks that the line closed. Quotes and lists are no trees here
 * but two numbers of each block, `quote` and `depth`, since a WXML template cannot draw itself.
 */

import { NOTHING, pushText, readInline, type Progress, type Span } from './inline.js'

/** A block, as a template draws it. */
export interface Node {
  type: 'paragraph' | 'heading' | 'item' | 'code' | 'table' | 'rule'
  /** How many quotes it is in. */
  quote?: number
  /** How many lists it is in; an item's own is one. */
  depth?: number
  /** Of a heading: 1 to 6. */
  level?: number
  /** Of an item: what stands before it. */
  marker?: string
  /** Of code; "" where it names none. */
  language?: string
  spans?: readonly Span[]
  /** Of a table: one for each column. */
  align?: readonly string[]
  /** Of a table: rows of cells of spans. The first row is the head. */
  rows?: readonly Cell[][]
}

export type Cell = readonly Span[]

export interface Block {
  readonly node: Node
  /** Its text; of code and tables "", since their nodes are always as far as they can be. */
  readonly source: string
  /** Where in the whole text it begins, which no other block with text does. */
  readonly at: number
  /** What closes a block of code. */
  readonly fence?: string
  /** How far the fence is indented, which its lines are, too. */
  readonly indent?: number
}

export interface BlockState {
  readonly block: Block | null
  /** Where the markers of the lists stand that are open, from outside in. */
  readonly lists: readonly number[]
  readonly quote: number
  /** Whether the last line was blank. */
  readonly isBlank: boolean
}

export interface Line {
  readonly text: string
  /** Where in the whole text it begins. */
  readonly at: number
  /** Whether more of this line may come. */
  readonly isOpen: boolean
}

type Step = [Block[], BlockState]

export const BEGINNING: BlockState = { block: null, lists: [], quote: 0, isBlank: true }

const QUOTES = /^(?: {0,3}> ?){0,9}/
const FENCE = /^(`{3,}|~{3,})\s*([^`]*)$/
const HEADING = /^(#{1,6})(?:[ \t]+(.*))?$/
const RULE = /^([-*_])(?:[ \t]*\1){2,}[ \t]*$/
const ITEM = /^([-*+]|(\d{1,9})[.)])(?:[ \t]+(.*))?$/
const TASK = /^\[([ xX])\][ \t]+/
const ROW_BELOW_HEAD = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/

/** What an open line shows nothing of yet: it may become a marker, or text. */
const HALF_MARKER = /^(?:#{1,6}|[-+*]|(?:[-*]{2}|_)[-*_ \t]*|\d{1,9}[.)]?|`{1,2}|~{1,2})$/
const HALF_ROW_BELOW_HEAD = /^[|:\- \t]+$/
const HALF_TASK = /^\[[ xX]?\]?$/

export function takeLine(state: BlockState, line: Line): Step {
  if (state.block && state.block.fence) return takeCode(state, state.block, state.block.fence, line)
  const quotes = (QUOTES.exec(line.text) || [''])[0]
  const text = line.text.slice(quotes.length)
  const content = text.trim()
  if (!content || (line.isOpen && isHalf(state, content))) return line.isOpen ? [[], state] : closed({ ...state, isBlank: true })
  const quote = quotes.split('>').length - 1
  const [before, inside] = quote === state.quote ? [[], state] : closed({ ...state, lists: [], quote })
  const at = line.at + quotes.length
  const [after, next] = takeContent(inside, content, { text, at, isOpen: line.isOpen })
  return [[...before, ...after], { ...next, isBlank: false }]
}

function isHalf(state: BlockState, content: string): boolean {
  return HALF_MARKER.test(content) || (isHead(state) && HALF_ROW_BELOW_HEAD.test(content))
}

/** Whether the open block may become the head of a table. */
function isHead({ block, isBlank }: BlockState): boolean {
  return !!block && !isBlank && block.node.type === 'paragraph' && block.source.indexOf('|') >= 0 && block.source.indexOf('\n') < 0
}

function closed(state: BlockState): Step {
  return [state.block ? [state.block] : [], { ...state, block: null }]
}

function opened(state: BlockState, block: Block): Step {
  return [state.block ? [state.block] : [], { ...state, block }]
}

function takeContent(state: BlockState, content: string, line: Line): Step {
  const indent = indentOf(line.text)
  const lists = state.lists.filter((marker) => indent >= marker + 2)
  const place = { ...(state.quote && { quote: state.quote }), ...(lists.length && { depth: lists.length }) }
  const inside = { ...state, lists }
  const fence = FENCE.exec(content)
  if (fence) return openCode(inside, place, fence, indent, line)
  const heading = HEADING.exec(content)
  if (heading) {
    const source = (heading[2] || '').replace(/(?:^|[ \t]+)#+$/, '')
    return opened(inside, { node: { type: 'heading', level: heading[1].length, ...place }, source, at: line.at })
  }
  if (RULE.test(content)) return opened(inside, { node: { type: 'rule', ...place }, source: '', at: line.at })
  const item = ITEM.exec(content)
  if (item && (lists.length < state.lists.length || mayBegin(state, item[2]))) return openItem({ ...state, lists: [...lists, indent] }, item, line)
  return takeText(state, inside, place, content, line)
}

/** In the middle of a paragraph a number is a list only if it is 1: `in\n2024. Then`. */
function mayBegin({ block, isBlank }: BlockState, number: string | undefined): boolean {
  return number === undefined || +number === 1 || isBlank || !block || block.node.type !== 'paragraph'
}

function openCode(state: BlockState, place: object, [, fence, info]: RegExpExecArray, indent: number, { at, isOpen }: Line): Step {
  const language = isOpen ? '' : info.trim().split(/\s/)[0]
  return opened(state, { node: { type: 'code', language, ...place, spans: [] }, source: '', at, fence, indent })
}

function takeCode(state: BlockState, block: Block, fence: string, line: Line): Step {
  const quotes = (QUOTES.exec(line.text) || [''])[0]
  if (state.quote && !quotes) {
    const [before, outside] = closed(state) // the quote has ended, and the code with it
    const [after, next] = takeLine(outside, line)
    return [[...before, ...after], next]
  }
  const text = state.quote ? line.text.slice(quotes.length) : line.text
  const end = text.trim()
  if (end.length >= fence.length && end === fence[0].repeat(end.length)) return closed(state)
  if (line.isOpen && fence.startsWith(end)) return [[], state]
  const spans = (block.node.spans || []).slice()
  pushText(spans, (spans.length ? '\n' : '') + text.slice(Math.min(indentOf(text), block.indent || 0)))
  return [[], { ...state, block: { ...block, node: { ...block.node, spans } } }]
}

function openItem(state: BlockState, [, bullet, number, rest = '']: RegExpExecArray, line: Line): Step {
  const task = TASK.exec(rest)
  const isHalfTask = line.isOpen && HALF_TASK.test(rest)
  const marker = task ? (task[1] === ' ' ? '☐' : '☑') : number ? `${number}.` : '•'
  const quote = state.quote && { quote: state.quote }
  const node: Node = { type: 'item', depth: state.lists.length, marker: bullet && marker, ...quote }
  // Where its text begins, so that a task, once it is one, is told from what it looked like.
  const at = line.at + (task ? task[0].length : 0)
  return opened(state, { node, source: isHalfTask ? '' : rest.slice(task ? task[0].length : 0), at })
}

function takeText(state: BlockState, inside: BlockState, place: object, content: string, { at, isOpen }: Line): Step {
  const { block } = state
  if (block && block.node.type === 'table' && !state.isBlank) return [[], { ...state, block: withRow(block, content, isOpen) }]
  if (block && isHead(state) && ROW_BELOW_HEAD.test(content)) {
    const align = cellsOf(content).map(alignOf)
    if (align.length === cellsOf(block.source).length) return [[], { ...state, block: tableOf(block, align) }]
  }
  const goesOn = block && !state.isBlank && (block.node.type === 'paragraph' || block.node.type === 'item')
  if (block && goesOn) return [[], { ...state, block: { ...block, source: `${block.source}\n${content}` } }]
  return opened(inside, { node: { type: 'paragraph', ...place }, source: content, at })
}

function tableOf(head: Block, align: string[]): Block {
  const node: Node = { ...head.node, type: 'table', align, rows: [rowOf(cellsOf(head.source), align.length, false)] }
  return { node, source: '', at: head.at }
}

function withRow(block: Block, content: string, isOpen: boolean): Block {
  const { rows = [], align = [] } = block.node
  return { ...block, node: { ...block.node, rows: [...rows, rowOf(cellsOf(content), align.length, isOpen)] } }
}

function rowOf(cells: string[], columns: number, isOpen: boolean): Cell[] {
  const row = cells.slice(0, columns).map((cell, column) => readInline(cell, NOTHING, isOpen && column === cells.length - 1).spans)
  while (row.length < columns) row.push([])
  return row
}

function cellsOf(line: string): string[] {
  const cells = line.replace(/^\|/, '').match(/(?:\\[^]|[^|\\]|\\$)*(?:\||$)/g) || []
  const texts = cells.filter((cell) => cell).map((cell) => cell.replace(/\|$/, ''))
  return texts.map((cell, index) => (cell.endsWith('\\') && index < texts.length - 1 ? `${cell}|` : cell).trim())
}

function alignOf(cell: string): string {
  const ends = cell.slice(-1) === ':'
  return cell[0] === ':' ? (ends ? 'center' : 'left') : ends ? 'right' : ''
}

function indentOf(text: string): number {
  let indent = 0
  while (text[indent] === ' ' || text[indent] === '\t') indent++
  return indent
}

/** A block as it is to be drawn, and how far its text is settled. `isOpen`: more of it may come. */
export function drawBlock({ node, source }: Block, progress: Progress, isOpen: boolean): { node: Node; progress: Progress } {
  if (node.type === 'code' || node.type === 'table' || node.type === 'rule') return { node, progress }
  if (isOpen && node.type === 'paragraph' && /^\|[^\n]*$/.test(source)) {
    const cells = cellsOf(source)
    const rows = [rowOf(cells, cells.length, true)]
    return { node: { ...node, type: 'table', align: cells.map(() => ''), rows }, progress }
  }
  const read = readInline(source, progress, isOpen)
  return { node: { ...node, spans: read.spans }, progress: read.progress }
}
