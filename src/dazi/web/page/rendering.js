/**
 * Draws the SDK's Markdown in an element, and goes on as the text grows.
 *
 * Laws: elements are made one by one from a fixed set of tags, and text only ever becomes text; what has not changed is
 * not touched, and typing on appends, so that a selection survives; nothing is fetched: a picture becomes a link.
 */

import { createMarkdown } from "./sdk.js";
import { t } from "./words.js";

/** Makes the view of an element: `update(text, open)` shows a text, `open` says that it may go on. */
export function markdownView(element) {
  const markdown = createMarkdown();
  let drawn = []; // of each node: { node, place, outer, fill }

  function update(text, open) {
    markdown.update(text, !open);
    const nodes = markdown.nodes();
    cutTo(nodes.length);
    nodes.forEach((node, index) => {
      const old = drawn[index];
      if (old && old.node === node) return;
      if (old && isAlike(old.node, node)) {
        old.fill(node);
        old.node = node;
      } else {
        cutTo(index);
        drawn.push(draw(element, node, drawn[index - 1]));
      }
    });
  }

  function cutTo(length) {
    for (const { outer } of drawn.slice(length)) outer.remove();
    drawn = drawn.slice(0, length);
  }

  return { update };
}

/** Whether the second can be shown by filling the first anew. */
function isAlike(one, other) {
  const frame = ({ type, level, depth, quote, marker, language, align }) => JSON.stringify([type, level, depth, quote, marker, language, align]);
  return frame(one) === frame(other);
}

/** Draws a node behind the last one, inside the quotes and lists that it shares with it. */
function draw(root, node, last) {
  const place = openPlace(root, node, last ? last.place : { quotes: [], lists: [] });
  const { made, fill } = FRAMES[node.type](node);
  place.inside.append(made);
  fill(node);
  return { node, place, outer: place.outer || made, fill };
}

/** The quotes and lists around a node: those of the last one as far as they go on, then new ones, `outer` the first. */
function openPlace(root, { type, quote = 0, depth = 0, marker }, before) {
  const quotes = before.quotes.slice(0, quote);
  const lists = before.quotes.length === quote ? before.lists.slice(0, depth) : [];
  const innermost = () => lists.at(-1)?.item || quotes.at(-1) || root;
  let outer = null;
  const add = (parent, tag) => {
    const made = parent.appendChild(document.createElement(tag));
    outer ??= made;
    return made;
  };
  while (quotes.length < quote) quotes.push(add(innermost(), "blockquote"));
  if (type === "item") {
    const tag = /\d/.test(marker) ? "ol" : "ul";
    const open = lists.length === depth ? lists.pop() : null;
    const list = open?.list.localName === tag ? open.list : add(innermost(), tag);
    const item = add(list, "li");
    if (tag === "ol") item.value = parseInt(marker, 10);
    lists.push({ list, item });
  }
  return { quotes, lists, inside: innermost(), outer };
}

/** What stands around a node's text: `made` is put into the page, `fill` shows a node in it. */
const FRAMES = {
  paragraph: () => line("p"),
  heading: ({ level }) => line(`h${Math.min(6, level + 1)}`),
  item: ({ marker }) => (/[☐☑]/.test(marker) ? line("p", `${marker} `) : line("p")),
  rule: () => ({ made: document.createElement("hr"), fill() {} }),
  code: codeFrame,
  table: tableFrame,
};

function line(tag, prefix = "") {
  const made = document.createElement(tag);
  made.append(...(prefix ? [prefix] : []));
  const fillSpans = spansView(made);
  return { made, fill: ({ spans }) => fillSpans(spans) };
}

/** A wide table scrolls in its own box, never the page. */
function tableFrame({ align }) {
  const made = document.createElement("div");
  const table = made.appendChild(document.createElement("table"));
  made.className = "table";
  made.tabIndex = 0; // so that the keyboard can scroll it
  const rows = []; // of each row, the views of its cells

  function addRow() {
    const isHead = rows.length === 0;
    const body = table.tBodies[0] || (isHead ? table.createTHead() : table.createTBody());
    const row = body.appendChild(document.createElement("tr"));
    rows.push(align.map((side) => {
      const cell = row.appendChild(document.createElement(isHead ? "th" : "td"));
      cell.className = side === "left" ? "" : side;
      return spansView(cell);
    }));
  }

  function fill(node) {
    while (rows.length < node.rows.length) addRow();
    node.rows.forEach((cells, at) => cells.forEach((spans, column) => rows[at][column](spans)));
  }

  return { made, fill };
}

function codeFrame({ language }) {
  const made = document.createElement("figure");
  const [bar, name, copy, pre, inside] = ["figcaption", "span", "button", "pre", "code"].map((tag) => document.createElement(tag));
  made.className = "code";
  name.textContent = language;
  copy.type = "button";
  Object.assign(copy.dataset, { act: "copy-code", word: "copy" });
  copy.textContent = t("copy");
  pre.tabIndex = 0;
  bar.append(name, copy);
  pre.append(inside);
  made.append(bar, pre);
  const fillSpans = spansView(inside);
  return { made, fill: ({ spans }) => fillSpans(spans) };
}

/** Makes the view of a row of spans at the end of an element: a function that shows other ones. */
function spansView(element) {
  let drawn = []; // of each span: { span, made, text }
  return (spans) => {
    let same = 0;
    while (same < spans.length && same < drawn.length && goesOn(drawn[same], spans[same])) same += 1;
    for (const { made } of drawn.splice(same)) made.remove();
    for (const span of spans.slice(same)) drawn.push(addSpan(element, span));
  };
}

/** Shows a span where an earlier one stands, if it is that one, or that one and more. */
function goesOn(old, span) {
  const { span: before, text } = old;
  if (before === span) return true;
  if (before.marks !== span.marks || before.href !== span.href || before.image !== span.image) return false;
  if (!span.text.startsWith(before.text)) return false;
  text.appendData(span.text.slice(before.text.length));
  old.span = span;
  return true;
}

function addSpan(element, span) {
  const text = document.createTextNode(span.text);
  let made = text;
  for (const tag of (span.marks || "").split(" ").filter(Boolean)) made = wrapped(document.createElement(tag), made);
  const target = span.href || span.image;
  if (target) made = wrapped(Object.assign(document.createElement("a"), { href: target, target: "_blank", rel: "noopener noreferrer nofollow" }), made);
  element.append(made);
  return { span, made, text };
}

function wrapped(outer, inner) {
  outer.append(inner);
  return outer;
}
