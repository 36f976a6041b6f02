/**
 * Shows light Markdown in an element, and goes on as the text grows.
 *
 * Laws: nodes are made one by one from a fixed set of tags, and text only ever becomes text; a settled block is never
 * touched again; of the open one only what differs is; the result is what showing the whole text at once would give.
 */

import { blocks } from "./markdown.js";
import { t } from "./words.js";

/** Makes the view of an element: `update(text, open)` shows a text, `open` says that it may go on. */
export function markdownView(element) {
  let length = 0;
  let settled = 0; // characters in blocks that are frozen
  let live = []; // { node, made } of the blocks after them

  function update(text, open) {
    if (text.length < length) clear();
    length = text.length;
    const found = blocks(text.slice(settled), open);
    live = patch(element, live, found.map(({ node }) => node));
    const frozen = found.filter(({ isSettled }) => isSettled).length;
    live = live.slice(frozen);
    if (frozen) settled += found[frozen].start;
  }

  function clear() {
    element.replaceChildren();
    settled = 0;
    live = [];
  }

  return { update };
}

/** Makes the last children of `parent`, which were made from `old`, show `nodes`. */
function patch(parent, old, nodes) {
  old.slice(nodes.length).forEach(({ made }) => made.remove());
  return nodes.map((node, index) => (old[index] ? change(old[index], node) : add(parent, node)));
}

function add(parent, node) {
  const fresh = make(node);
  parent.append(fresh.made);
  return fresh;
}

function change(old, node) {
  if (isText(old.node) && isText(node)) return changeText(old, node);
  if (old.node.tag !== node.tag || !sameAttributes(old.node, node)) return swap(old, node);
  return { node, made: old.made, children: patch(old.inside, old.children, node.children || []), inside: old.inside };
}

/** Typing on appends, so that a selection in the text survives. */
function changeText(old, node) {
  if (node.startsWith(old.node)) {
    if (node.length > old.node.length) old.made.appendData(node.slice(old.node.length));
  } else old.made.data = node;
  return { ...old, node };
}

function swap(old, node) {
  const fresh = make(node);
  old.made.replaceWith(fresh.made);
  return fresh;
}

const isText = (node) => typeof node === "string";

function sameAttributes(one, other) {
  return one.language === other.language && JSON.stringify(one.attributes) === JSON.stringify(other.attributes);
}

function make(node) {
  if (isText(node)) return { node, made: document.createTextNode(node), children: [] };
  const { made, inside } = (FRAMES[node.tag] || plainFrame)(node);
  return { node, made, inside, children: patch(inside, [], node.children || []) };
}

/** What stands around a node's children: `made` is put into the page, `inside` takes the children. */
const FRAMES = { table: tableFrame, "code-block": codeFrame };

function plainFrame({ tag, attributes = {} }) {
  const made = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  return { made, inside: made };
}

/** A wide table scrolls in its own box, never the page. */
function tableFrame() {
  const made = document.createElement("div");
  const inside = document.createElement("table");
  made.className = "table";
  made.tabIndex = 0; // so that the keyboard can scroll it
  made.append(inside);
  return { made, inside };
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
  return { made, inside };
}
