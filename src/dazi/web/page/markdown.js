/**
 * Reads the blocks of light Markdown: paragraphs, headings, lists, quotes, code, tables, rules.
 *
 * Laws: the result is data (strings and `{ tag, attributes, children }`), never markup; reading from any block's start
 * gives the same blocks as reading the whole, so blocks that are closed can be frozen; at the open end of a text that
 * still grows, marks that say nothing yet (`#`, a lone backtick, a table's first line) are not shown as text.
 */

import { inline } from "./inline.js";

const FENCE = /^( {0,3})(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])([ \t]+)(.*)$/;
const TABLE_RULE = /^[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const HALF_MARK = /^\s*(?:[-*+]{1,2}|#{1,6}|\d{1,9}[.)]|`{1,2}|~{1,2}|_{1,2})$/;
const DEPTH_LIMIT = 10; // of lists and quotes in one another: deeper ones stand as they are written
const PIECE = 2_000; // characters of code in one text node, so that typing on touches only the last

/** Returns `[{ start, isSettled, node }]`: `isSettled` says that no later text can change the block. */
export function blocks(text, open = false) {
  const lines = text.split("\n");
  const starts = offsets(lines);
  const found = readBlocks(lines, { open, depth: 0 });
  // A block is settled once another has begun, on a line that is complete: `---` may still become `---x`.
  const isSettled = (index) => index + 1 < found.length && found[index + 1].line < lines.length - 1;
  return found.map(({ line, node }, index) => ({ start: starts[line], isSettled: isSettled(index), node }));
}

function offsets(lines) {
  let at = 0;
  return lines.map((line) => (at += line.length + 1) - line.length - 1);
}

function readBlocks(lines, place) {
  const found = [];
  for (let line = 0; line < lines.length; ) {
    const read = lines[line].trim() ? READERS.map((reader) => reader(lines, line, place)).find(Boolean) : null;
    if (read?.node) found.push({ line, node: read.node });
    line = read ? read.next : line + 1;
  }
  return found;
}

/** Each reader returns the block that begins at a line and the line after it, or null; the last one takes anything. */
const READERS = [readHalfMark, readFence, readHeading, readRule, readQuote, readList, readTable, readParagraph];

function readHalfMark(lines, at, { open }) {
  return open && at === lines.length - 1 && HALF_MARK.test(lines[at]) ? { node: null, next: at + 1 } : null;
}

function readFence(lines, at, { open }) {
  const [, indent, fence, info] = FENCE.exec(lines[at]) || [];
  if (!fence) return null;
  const closing = new RegExp(`^ {0,3}\\${fence[0]}{${fence.length},}\\s*$`);
  let next = at + 1;
  while (next < lines.length && !closing.test(lines[next])) next += 1;
  const inside = lines.slice(at + 1, next).map((line) => dedent(line, indent.length));
  const isOpen = open && next === lines.length;
  if (isOpen && /^ {0,3}(`{1,2}|~{1,2})$/.test(inside.at(-1) || "")) inside.pop(); // the closing fence, half written
  return { node: code(inside, info.trim().split(/\s+/)[0]), next: next + 1 };
}

function code(lines, language) {
  const children = pieces(lines.join("\n"));
  return { tag: "code-block", language, children };
}

function pieces(text) {
  const cut = [];
  let from = 0;
  while (text.length - from > PIECE) {
    const end = text.indexOf("\n", from + PIECE) + 1;
    if (!end) break;
    cut.push(text.slice(from, end));
    from = end;
  }
  return [...cut, text.slice(from)];
}

function readHeading(lines, at, { open }) {
  const [, marks, title] = HEADING.exec(lines[at]) || [];
  if (!marks) return null;
  const children = inline(title, open && at === lines.length - 1);
  return { node: { tag: `h${Math.min(6, marks.length + 1)}`, children }, next: at + 1 };
}

function readRule(lines, at) {
  return RULE.test(lines[at]) ? { node: { tag: "hr" }, next: at + 1 } : null;
}

function readQuote(lines, at, { open, depth }) {
  let next = at;
  while (next < lines.length && QUOTE.test(lines[next])) next += 1;
  if (next === at) return null;
  const inside = lines.slice(at, next).map((line) => QUOTE.exec(line)[1]);
  return { node: { tag: "blockquote", children: nodes(inside, { open: open && next === lines.length, depth: depth + 1 }) }, next };
}

function nodes(lines, place) {
  if (place.depth > DEPTH_LIMIT) return [{ tag: "p", children: [lines.join("\n")] }];
  return readBlocks(lines, place).map(({ node }) => node);
}

function readList(lines, at, { open, depth }) {
  const first = marker(lines[at]);
  if (!first || first.indent > 3) return null;
  const items = [];
  let next = at;
  const isNextItem = (mark) => mark?.kind === first.kind && mark.indent < first.indent + 2;
  while (next < lines.length && isNextItem(marker(lines[next]))) {
    const end = itemEnd(lines, next);
    items.push(item(lines, next, end, { open: open && end === lines.length, depth: depth + 1 }));
    next = end;
  }
  const attributes = first.kind === "ol" && first.number !== 1 ? { start: String(first.number) } : undefined;
  return { node: { tag: first.kind, attributes, children: items }, next };
}

function marker(line) {
  const [, space, mark, gap, rest] = ITEM.exec(line) || [];
  if (!mark || RULE.test(line)) return null;
  const number = parseInt(mark, 10);
  const indent = space.length;
  const inner = indent + mark.length + Math.min(gap.length, 4); // where the item's own text begins
  return { indent, inner, kind: number >= 0 ? "ol" : "ul", number, rest };
}

/** The line after an item: what is indented belongs to it, and a line that goes on right after its text. */
function itemEnd(lines, at) {
  const { indent } = marker(lines[at]);
  let end = at + 1;
  for (let line = end; line < lines.length; line += 1) {
    if (!lines[line].trim()) continue;
    const isInside = /^\s*/.exec(lines[line])[0].length >= indent + 2;
    const goesOn = line === end && !marker(lines[line]) && !beginsBlock(lines[line]) && lines[line - 1].trim();
    if (!isInside && !goesOn) break;
    end = line + 1;
  }
  let rest = end; // blank lines at the very end belong to the item, so that it stays open
  while (rest < lines.length && !lines[rest].trim()) rest += 1;
  return rest === lines.length ? rest : end;
}

function item(lines, at, end, place) {
  const { inner, rest } = marker(lines[at]);
  const inside = lines.slice(at + 1, end).map((line) => dedent(line, inner));
  const [, box, task] = /^\[([ xX])\][ \t](.*)$/.exec(rest) || [];
  const first = box === undefined ? rest : `${box === " " ? "☐" : "☑"} ${task}`;
  return { tag: "li", children: nodes([first, ...inside], place) };
}

function dedent(line, width) {
  const space = /^[ \t]*/.exec(line)[0].length;
  return line.slice(Math.min(space, width));
}

function readTable(lines, at, { open }) {
  const isHalf = open && isHalfTable(lines, at);
  if (!isHalf && !beginsTable(lines, at)) return null;
  let next = Math.min(at + 2, lines.length);
  while (next < lines.length && lines[next].trim() && lines[next].includes("|")) next += 1;
  const aligns = cells(lines[at + 1] || "").map(alignment);
  const row = (tag, line, isLast) => ({ tag: "tr", children: cells(line).map(cell(tag, aligns, isLast)) });
  const isGrowing = (line) => open && next === lines.length && line === next - 1;
  const rows = lines.slice(at + 2, next).map((line, index) => row("td", line, isGrowing(at + 2 + index)));
  const head = { tag: "thead", children: [row("th", lines[at], isHalf)] };
  return { node: { tag: "table", children: [head, { tag: "tbody", children: rows }] }, next };
}

/** A table of which only the first line, or a part of its rule, is there. */
function isHalfTable(lines, at) {
  const after = lines.length - at - 1;
  return /^\s*\|/.test(lines[at]) && (after === 0 || (after === 1 && /^[\s|:-]*$/.test(lines[at + 1])));
}

const cell = (tag, aligns, isLast) => (text, column) => ({ tag, attributes: aligns[column], children: inline(text, isLast) });

const beginsTable = (lines, at) => lines[at].includes("|") && isTableRule(lines[at + 1]);
const isTableRule = (line = "") => line.includes("|") && line.includes("-") && TABLE_RULE.test(line);

function cells(line) {
  const inside = line.trim().replaceAll("\\|", "\0").replace(/^\|/, "").replace(/\|$/, "");
  return inside.split("|").map((cell) => cell.trim().replaceAll("\0", "|"));
}

function alignment(rule) {
  if (!rule.endsWith(":")) return undefined;
  return { class: rule.startsWith(":") ? "center" : "right" };
}

function readParagraph(lines, at, { open }) {
  let next = at + 1;
  while (next < lines.length && lines[next].trim() && !beginsBlock(lines[next]) && !beginsTable(lines, next)) next += 1;
  const isOpen = open && next >= lines.length;
  const shown = isOpen && next - 1 > at && HALF_MARK.test(lines[next - 1]) ? next - 1 : next;
  return { node: { tag: "p", children: inline(lines.slice(at, shown).join("\n").trim(), isOpen) }, next };
}

/** Whether a line ends the paragraph before it. Of numbered lists only a first item does: a line may begin with a year. */
function beginsBlock(line) {
  const item = marker(line);
  if (item) return item.kind === "ul" || item.number === 1;
  return [FENCE, HEADING, RULE, QUOTE].some((pattern) => pattern.test(line));
}
