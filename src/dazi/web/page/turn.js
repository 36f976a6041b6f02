/**
 * One question and its answer, as they stand on the page.
 *
 * Laws: the answer's element tells its state in `data-state` (connecting, streaming, paused, ended), `data-end` (done,
 * failed, aborted), `data-generation` and `data-proof`, and its text in `rawText` (received) and `shownText` (typed so
 * far); `ended` is said once everything is shown.
 */

import { markdownView } from "./rendering.js";
import { typing } from "./typing.js";
import { t, tellAgain } from "./words.js";

/** Makes the element of a turn from the page's template. */
export function turnView(turn, { onEnded = () => {} } = {}) {
  const element = document.querySelector("#turn").content.firstElementChild.cloneNode(true);
  const part = (name) => element.querySelector(`[data-part=${name}]`);
  const answerElement = element.querySelector("[data-answer]");
  const markdown = markdownView(part("text"));
  const thoughts = part("thoughts").appendChild(document.createTextNode(""));
  let answer = turn.answer;
  let shown = "";
  let typewriters = null; // the typewriters, while the answer grows
  let untyped = 0; // of them, those that have not come to rest

  element.dataset.key = turn.key;
  part("question").textContent = turn.question;
  Object.defineProperties(answerElement, {
    rawText: { get: () => answer.text },
    shownText: { get: () => shown },
  });
  tellAgain(element);
  if (answer.end) showWhole();
  else startTyping();

  function showWhole() {
    type(answer.text);
    think(answer.reasoning);
    settle();
  }

  function startTyping() {
    typewriters = { text: typing({ show: type, rested }), thoughts: typing({ show: think, rested }) };
    untyped = 2;
    typewriters.text.skip(answer.text);
    typewriters.thoughts.skip(answer.reasoning);
    state("connecting");
    showFacts();
  }

  function type(text) {
    shown = text;
    markdown.update(text, typewriters !== null);
  }

  function think(text) {
    part("reasoning").hidden = !text;
    if (text.startsWith(thoughts.data)) thoughts.appendData(text.slice(thoughts.data.length));
    else thoughts.data = text;
  }

  /** Takes the answer as it stands now; with its end, types the rest out and then calls `onEnded`. */
  function update(next) {
    answer = next;
    showFacts();
    typewriters.text.update(answer.text);
    typewriters.thoughts.update(answer.reasoning);
    if (answer.end) Object.values(typewriters).forEach((typewriter) => typewriter.end());
  }

  function rested() {
    untyped -= 1;
    if (untyped > 0) return;
    markdown.update(answer.text, false);
    settle();
    onEnded();
  }

  function state(name) {
    if (answerElement.dataset.state === "ended") return;
    answerElement.dataset.link = name === "polling" ? "poll" : "stream";
    answerElement.dataset.state = name === "polling" ? "streaming" : name;
  }

  /** What is told while the answer still grows. */
  function showFacts() {
    if (answer.generation) answerElement.dataset.generation = answer.generation;
    part("withdrawn").hidden = !answer.isRetracted;
    tell(part("thinking"), answer.text || answer.end ? "thought" : "thinking");
    showTools();
  }

  function showTools() {
    const list = part("tools");
    list.hidden = !answer.toolCalls.length;
    answer.toolCalls.forEach((tool, index) => {
      const item = list.children[index] || list.appendChild(toolItem());
      const [name, given] = item.querySelectorAll("summary span, pre");
      if (name.textContent !== (tool.name || "")) name.textContent = tool.name || "";
      if (given.textContent !== tool.arguments) given.textContent = tool.arguments;
    });
  }

  function toolItem() {
    const item = document.querySelector("#tool").content.firstElementChild.cloneNode(true);
    tellAgain(item);
    return item;
  }

  function settle() {
    const { end } = answer;
    showFacts();
    answerElement.removeAttribute("aria-busy");
    Object.assign(answerElement.dataset, { state: "ended", end: end.type, proof: answer.proof || "none" });
    part("model").textContent = answer.model || turn.model || "";
    showRemarks(end);
    if (end.type === "failed") showTrouble(end);
  }

  function showRemarks({ type: ending, finish_reason: reason, usage }) {
    const remark = ending === "aborted" ? "stopped" : ending === "done" && reason !== "stop" ? reason : "";
    if (remark) tell(part("remark"), remark);
    const count = usage?.completion_tokens || usage?.total_tokens;
    if (count) tell(part("usage"), "tokens", count);
  }

  function showTrouble({ code, message }) {
    part("trouble").hidden = false;
    part("error").dataset.error = code;
    tellAgain(part("trouble"));
    part("detail").textContent = [code, message].filter(Boolean).join(" · ");
  }

  return { element, update, state };
}

/** Names an element's word, so that it follows the page's language. */
function tell(element, word, count) {
  if (element.dataset.word === word && count === undefined) return;
  element.dataset.word = word;
  if (count !== undefined) element.dataset.count = count;
  element.textContent = t(word, element.dataset);
}
