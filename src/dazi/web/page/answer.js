/**
 * What the events of a generation fold into, and the proof that nothing of it is missing.
 *
 * Laws: folding all events of a log, or a snapshot and what follows it, gives the same answer; nothing is changed in
 * place; an event of an unknown type changes nothing.
 */

const TERMINAL = new Set(["done", "failed", "aborted"]);

/** An answer before its first event. `frame` is the id of the last frame applied, "0" for none. */
export const EMPTY = Object.freeze({
  generation: null,
  model: null,
  frame: "0",
  text: "",
  reasoning: "",
  tools: [],
  retracted: null,
  end: null,
});

const STEPS = new Map([
  ["started", (answer, event) => ({ ...answer, generation: event.generation, model: event.model })],
  ["text", (answer, event) => ({ ...answer, text: answer.text + event.text })],
  ["reasoning", (answer, event) => ({ ...answer, reasoning: answer.reasoning + event.text })],
  ["tool_call", (answer, event) => ({ ...answer, tools: withPiece(answer.tools, event) })],
  ["retract", (answer, event) => ({ ...answer, text: event.text, retracted: event.reason || "" })],
  ["snapshot", (answer, event) => ({ ...answer, ...whole(event) })],
]);

/** Returns the answer with one more event in it; `id` is its frame's. */
export function fold(answer, event, id) {
  const step = STEPS.get(event.type);
  const next = step ? step(answer, event) : { ...answer };
  if (TERMINAL.has(event.type)) next.end = event;
  if (id) next.frame = id;
  return next;
}

/** Returns the answer that `GET /v1/generations/{id}` tells. */
export function fromReading(reading) {
  const ended = TERMINAL.has(reading.status);
  return {
    ...EMPTY,
    ...whole(reading),
    generation: reading.generation,
    model: reading.model,
    frame: reading.next,
    end: ended ? { type: reading.status, ...reading.error, ...pick(reading) } : null,
  };
}

function pick({ finish_reason, usage, n, crc32, ai_generated }) {
  return { finish_reason, usage, n, crc32, ai_generated };
}

function whole({ text, reasoning, tool_calls }) {
  return { text, reasoning: reasoning || "", tools: (tool_calls || []).reduce(withPiece, []) };
}

function withPiece(tools, { index, call_id: id, name, arguments: piece = "" }) {
  const known = tools.find((tool) => tool.index === index) || { index, arguments: "" };
  const tool = { index, call_id: id || known.call_id, name: name || known.name, arguments: known.arguments + piece };
  return [...tools.filter((other) => other.index !== index), tool].sort((one, other) => one.index - other.index);
}

/** Says whether the answer, with this event in it, is as long as the event claims. */
export function lengthHolds(answer, event) {
  const held = event.type === "reasoning" ? answer.reasoning : answer.text;
  return event.n === undefined || event.n === held.length;
}

/** Says whether an ended answer's text has the checksum that its end claims. */
export function checksumHolds({ text, end }) {
  return end.crc32 === undefined || end.crc32 === crc32(text);
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit += 1) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest;
});

/** zlib's CRC-32 of the UTF-8 of a text, as an unsigned number. */
export function crc32(text) {
  let sum = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) sum = CRC_TABLE[(sum ^ byte) & 0xff] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
