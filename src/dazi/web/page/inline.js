/**
 * Reads the inside of a paragraph of light Markdown: code, links, bold, italic, struck out, line breaks.
 *
 * Laws: the result is data (strings and `{ tag, attributes, children }`), never markup; only http and https addresses
 * become links; what is not well formed stands as it is written, except at the open end of a text that still grows,
 * where a half-written mark already counts; time is linear in the text.
 */

const LABEL = /\[([^[\]\n]*(?:\[[^[\]\n]*\][^[\]\n]*)*)\]/;
const TARGET = /\(\s*<?([^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*)>?(?:\s+"[^"\n]*")?\s*\)/;
const ATOMS = [
  /\\([!-/:-@[-`{-~])/, // an escaped mark
  /(`+)/,
  new RegExp(`!?${LABEL.source}${TARGET.source}`), // a link; a picture becomes one too, for nothing is fetched unasked
  /<(https?:\/\/[^\s<>]+)>/,
  /(https?:\/\/[^\s<>"'`，。；：！？、（）【】《》「」]+)/,
  /<br\s*\/?>/, // the only tag that models need in tables
];
const ATOM = new RegExp(ATOMS.map(({ source }) => source).join("|"), "gi");
const HALF_LINK = /!?\[([^[\]\n]+)\]\([^()\s]*$/;
const FILLER = "\ufffc"; // stands for an atom where marks are looked for: neither a space, nor a letter, nor a mark
const MARKS = { "**": "strong", __: "strong", "~~": "del", "*": "em", _: "em" };
const DEPTH_LIMIT = 6; // of marks in marks: deeper ones stand as they are written
const MARK = /\*+|_+|~{2,}/g;

/** Returns the nodes of a text; `open` says that it may go on. */
export function inline(text, open = false) {
  const { atoms, masked } = readAtoms(text, open);
  return emphasis({ text, masked, atoms, open }, 0, text.length, 0);
}

/** Finds what marks cannot reach into (code, links, escapes, line ends) and hides it behind filler. */
function readAtoms(text, open) {
  const atoms = new Map(); // offset -> { end, nodes }
  const missing = new Set(); // lengths of backtick runs that have no partner further on
  let masked = "";
  let done = 0;
  const put = (start, end, nodes) => {
    atoms.set(start, { end, nodes });
    masked += text.slice(done, start) + FILLER.repeat(end - start);
    done = end;
  };
  const pattern = new RegExp(ATOM);
  for (let found = pattern.exec(text); found; found = pattern.exec(text)) {
    const [all, escaped, ticks, label, target, bracketed, bare] = found;
    const start = found.index;
    let end = start + all.length;
    if (escaped) put(start, end, [escaped]);
    else if (ticks) end = readCode(text, { start, ticks, open, missing, put });
    else if (label !== undefined) put(start, end, link(target, inline(label)) || [all]);
    else if (bracketed) put(start, end, link(bracketed, [bracketed]) || [all]);
    else if (bare) end = readBare(bare, start, put);
    else put(start, end, [{ tag: "br" }]);
    pattern.lastIndex = end;
  }
  const half = open && HALF_LINK.exec(text.slice(done));
  if (half) put(done + half.index, text.length, inline(half[1], true));
  return { atoms, masked: masked + text.slice(done) };
}

function readCode(text, { start, ticks, open, missing, put }) {
  const from = start + ticks.length;
  const close = missing.has(ticks.length) ? -1 : partner(text, from, ticks.length);
  if (close < 0) missing.add(ticks.length);
  if (close < 0 && !open) return from;
  const inside = text.slice(from, close < 0 ? text.length : close).replaceAll("\n", " ");
  const code = /^ .*[^ ].* $/.test(inside) ? inside.slice(1, -1) : inside;
  const end = close < 0 ? text.length : close + ticks.length;
  put(start, end, code ? [{ tag: "code", children: [code] }] : []);
  return end;
}

/** Where the next run of exactly `length` backticks begins, or -1. */
function partner(text, from, length) {
  const runs = /`+/g;
  runs.lastIndex = from;
  for (let run = runs.exec(text); run; run = runs.exec(text)) if (run[0].length === length) return run.index;
  return -1;
}

function readBare(bare, start, put) {
  const address = bare.replace(/[.,;:!?*_~)\]]+$/, "");
  const nodes = link(address, [address]);
  if (nodes) put(start, start + address.length, nodes);
  return start + address.length;
}

/** A link's nodes, or null where the address is not one that a person should be sent to. */
function link(target, children) {
  const address = parse(target);
  if (!address || !/^https?:$/.test(address.protocol)) return null;
  const attributes = { href: address.href, target: "_blank", rel: "noopener noreferrer nofollow" };
  return [{ tag: "a", attributes, children }];
}

function parse(target) {
  try {
    return new URL(target);
  } catch {
    return null;
  }
}

/** The nodes between two offsets, by their marks. */
function emphasis(source, from, to, depth) {
  const nodes = [];
  const closerless = new Set(); // marks that have no closer further on
  let plain = from;
  const marks = new RegExp(MARK);
  marks.lastIndex = depth < DEPTH_LIMIT ? from : to;
  for (let found = marks.exec(source.masked); found && found.index < to; found = marks.exec(source.masked)) {
    const mark = opening(source, found, from, to);
    if (!mark || closerless.has(mark)) continue;
    const start = found.index;
    const inside = start + mark.length;
    const close = closing(source, mark, inside, to);
    const goesOn = close < 0 && source.open && to === source.text.length;
    if (close < 0) closerless.add(mark);
    if (close < 0 && !goesOn) continue;
    nodes.push(...plainNodes(source, plain, start));
    const children = emphasis(source, inside, goesOn ? to : close, depth + 1);
    if (children.length) nodes.push({ tag: MARKS[mark], children });
    plain = goesOn ? to : close + mark.length;
    marks.lastIndex = plain;
  }
  return [...nodes, ...plainNodes(source, plain, to)];
}

/** The mark that a run of its character opens here, or null. */
function opening({ masked, open }, { 0: run, index }, from, to) {
  const mark = run.length > 1 ? run.slice(0, 2) : run;
  const next = masked[index + run.length];
  const atEnd = index + run.length >= to;
  if (!MARKS[mark] || (atEnd ? !(open && to === masked.length) : /\s/.test(next))) return null;
  const inWord = index > from && /[A-Za-z0-9]/.test(masked[index - 1]);
  return inWord && (mark === "*" || mark[0] === "_") ? null : mark;
}

/** Where the mark that closes begins, or -1. */
function closing({ masked }, mark, from, to) {
  const marks = new RegExp(MARK);
  marks.lastIndex = from;
  for (let found = marks.exec(masked); found && found.index < to; found = marks.exec(masked)) {
    const [run] = found;
    const end = found.index + run.length;
    const fits = run[0] === mark[0] && (mark.length === 2 ? run.length >= 2 : run.length % 2 === 1);
    const closes = fits && found.index > from && !/\s/.test(masked[found.index - 1]);
    const inWord = /[A-Za-z0-9]/.test(masked[end] || "") && (mark === "*" || mark[0] === "_");
    if (closes && !inWord && end <= to) return end - mark.length;
  }
  return -1;
}

/** Text and atoms between two offsets that hold no marks. */
function plainNodes({ text, masked, atoms }, from, to) {
  const nodes = [];
  let at = from;
  while (at < to) {
    const next = masked.indexOf(FILLER, at);
    const stop = next < 0 || next > to ? to : next;
    nodes.push(...withBreaks(text.slice(at, stop)));
    const atom = stop < to && atoms.get(stop);
    if (stop < to) nodes.push(...(atom ? atom.nodes : [text[stop]]));
    at = atom ? atom.end : stop + 1;
  }
  return merged(nodes);
}

/** Every line end is seen: models mean theirs. */
function withBreaks(text) {
  return text.split("\n").flatMap((line, index) => (index ? [{ tag: "br" }, line] : [line])).filter((node) => node !== "");
}

function merged(nodes) {
  const out = [];
  for (const node of nodes) {
    if (typeof node === "string" && typeof out.at(-1) === "string") out.push(out.pop() + node);
    else out.push(node);
  }
  return out;
}
