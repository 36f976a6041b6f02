/**
 * The chat page: puts the parts together and owns the conversation.
 *
 * Laws: at most one generation runs; a turn is kept before its question is sent, so a reload never loses one; leaving
 * the page never stops an answer, only the person does.
 */

import { copyText } from "./clipboard.js";
import { composer } from "./composer.js";
import { gateway } from "./gateway.js";
import { keep, kept, keptTurns, turnKeeper } from "./history.js";
import { loginDialog } from "./login.js";
import { menu } from "./menu.js";
import { modelPicker } from "./models.js";
import { followEnd } from "./scrolling.js";
import { EMPTY, follow } from "./stream.js";
import { turnView } from "./turn.js";
import { samples, speak, spoken, t } from "./words.js";

const CONTEXT = 200_000; // characters of the conversation that go along with a question
const UNSENT_AFTER = 600_000; // ms: a question this old that never got through is not sent by itself any more
const UNDO_FOR = 8_000; // ms
const COPIED_FOR = 1_500; // ms

const find = (name) => document.querySelector(name);
const api = gateway();
const login = loginDialog({ api, dialog: find("#sign-in"), onSignedIn: () => keep("signedIn", "yes") });
const log = find("#log");
const scroll = followEnd({ content: log, button: find("#latest") });
const keeper = turnKeeper({ current: () => turns, onOther: adopt });
const models = modelPicker({ api, select: find("#model"), signIn: login.ask, onChange: showEmpty });
const box = composer({ onSend: ask, onStop: stop, onDraft: showTiny });

let turns = [];
let running = null; // { turn, view, reader } of the answer that is being written
let undo = null; // the turns that a new conversation has put away, while they can be brought back

speak();
menu({ api, onLanguage: showEmpty });
adopt(keptTurns());
showEmpty();
models.load();
listen();

/** Shows other turns than those on the page, and goes on with the one that has no end. */
function adopt(next) {
  const isSame = next.map(({ key }) => key).join() === turns.map(({ key }) => key).join();
  if (isSame && (running || next.every(({ answer }, index) => answer.end?.type === turns[index].answer.end?.type))) return;
  leave();
  turns = next.map((turn) => (turn === next.at(-1) || turn.answer.end ? turn : closed(turn, "unsent")));
  log.replaceChildren();
  turns.forEach(show);
  showEmpty();
}

function show(turn) {
  const isLate = !turn.answer.end && !turn.answer.generation && Date.now() - turn.asked > UNSENT_AFTER;
  if (isLate) Object.assign(turn, closed(turn, "unsent"));
  const view = turnView(turn, { onEnded: () => onEnded(turn) });
  log.append(view.element);
  if (!turn.answer.end) run(turn, view);
}

const closed = (turn, code) => ({ ...turn, answer: { ...turn.answer, end: { type: "failed", code, retryable: true } } });

function ask(question, model = models.chosen()) {
  if (running) return;
  const turn = { key: freshKey(), question, model, asked: Date.now(), answer: EMPTY };
  turns = [...turns, turn];
  keeper.now();
  undo = null;
  find("#undo").hidden = true;
  showEmpty();
  show(turn);
  scroll.toEnd();
}

/** Asks a question anew: the last one in its place, an older one at the end. */
function again(key) {
  const turn = turns.find((one) => one.key === key);
  if (!turn || running) return;
  if (turn === turns.at(-1)) {
    turns = turns.slice(0, -1);
    log.lastElementChild.remove();
  }
  ask(turn.question, models.chosen() || turn.model);
}

function freshKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function run(turn, view) {
  const reader = follow({
    api,
    key: turn.key,
    body: { ...(turn.model ? { model: turn.model } : {}), messages: messages(turn) },
    answer: turn.answer,
    signIn: login.ask,
    onAnswer: (answer) => onAnswer(turn, view, answer),
    onState: (state) => onState(view, state),
  });
  running = { turn, view, reader };
  box.busy(true);
}

/** The conversation up to a turn, newest first kept, in OpenAI's shape. The same turn always gives the same messages. */
function messages(turn) {
  const before = turns.slice(0, turns.indexOf(turn)).filter(({ answer }) => answer.text);
  let room = CONTEXT;
  const told = before.reverse().filter(({ question, answer }) => (room -= question.length + answer.text.length) > 0);
  const both = ({ question, answer }) => [
    { role: "user", content: question },
    { role: "assistant", content: answer.text },
  ];
  return [...told.reverse().flatMap(both), { role: "user", content: turn.question }];
}

function onAnswer(turn, view, answer) {
  turn.answer = answer;
  if (answer.end) keeper.now();
  else keeper.soon();
  view.update(answer);
}

function onState(view, state) {
  if (state === "ended") return; // the person sees the end when everything is typed
  view.state(state);
  showState(state);
}

function showState(state) {
  document.body.dataset.state = state;
  const word = { idle: "caution", streaming: matchMedia("(hover: hover)").matches ? "streamingKeys" : "streaming" }[state] || state;
  find("#status").dataset.word = word;
  find("#status").textContent = t(word);
}

function onEnded(turn) {
  if (running?.turn !== turn) return;
  running = null;
  box.busy(false);
  showState("idle");
  find("#announce").textContent = t(turn.answer.end.type === "done" ? "finished" : "stopped");
}

function stop() {
  running?.reader.stop();
}

function leave() {
  running?.reader.leave();
  running = null;
  box.busy(false);
  showState("idle");
}

function startAfresh() {
  if (!turns.length) return box.focus();
  const { turn, reader } = running || {};
  if (turn) Object.assign(turn, { answer: { ...turn.answer, end: { type: "aborted" } } });
  reader?.stop();
  undo = turns;
  leave();
  turns = [];
  log.replaceChildren();
  keeper.now();
  showEmpty();
  box.focus();
  find("#undo").hidden = false;
  setTimeout(() => (find("#undo").hidden = true), UNDO_FOR);
}

function bringBack() {
  find("#undo").hidden = true;
  if (!undo || turns.length) return;
  adopt(undo);
  keeper.now();
}

/** The empty page: a welcome and a few questions to tap. */
function showEmpty() {
  find("#empty").hidden = turns.length > 0;
  const language = models.chosen() === "smollm2" ? "en" : spoken();
  const chips = samples(language).map((question) => {
    const chip = document.createElement("button");
    Object.assign(chip, { type: "button", textContent: question, lang: language });
    Object.assign(chip.dataset, { act: "sample" });
    return chip;
  });
  find("#samples").replaceChildren(...chips);
  showTiny();
}

/** The embedded model knows no Chinese: say so where it matters, and have the demo one tap away. */
function showTiny() {
  const matters = turns.length === 0 || /\p{Script=Han}/u.test(box.draft());
  find("#tiny").hidden = models.chosen() !== "smollm2" || !matters;
  find("#try-demo").hidden = !models.has("demo");
}

function tryDemo() {
  models.choose("demo");
  ask(samples("zh")[0]);
}

async function copy(button, text) {
  await copyText(text);
  const isWritten = Boolean(button.dataset.word); // otherwise it is a picture, which turns into a tick
  button.dataset.done = "";
  if (isWritten) button.textContent = t("copied");
  find("#announce").textContent = t("copied");
  setTimeout(() => {
    delete button.dataset.done;
    if (isWritten) button.textContent = t("copy");
  }, COPIED_FOR);
}

const ACTS = {
  sample: (button) => ask(button.textContent),
  again: (button) => again(button.closest("[data-key]").dataset.key),
  copy: (button) => copy(button, button.closest("[data-answer]").rawText),
  "copy-code": (button) => copy(button, button.closest("figure").querySelector("code").textContent),
  new: startAfresh,
  undo: bringBack,
  demo: tryDemo,
};

function listen() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (button) ACTS[button.dataset.act]?.(button);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing && !document.querySelector("dialog[open]")) stop();
  });
  const nudge = () => !document.hidden && running?.reader.nudge();
  window.addEventListener("online", nudge);
  document.addEventListener("visibilitychange", nudge);
}
