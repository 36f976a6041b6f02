/**
 * What this browser keeps: the conversation, and the person's choices.
 *
 * Laws: an answer is kept together with the position that it covers, in one write, so that going on after a reload
 * neither loses nor doubles anything; where nothing can be kept (private mode, no room) the page works on without.
 */

const PREFIX = "dazi.page.";
const TURNS = `${PREFIX}turns`;
const EVERY = 500; // ms between two writes of an answer that grows

/** Returns a choice that was kept, or null. */
export function kept(name) {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(PREFIX + name, value);
    return true;
  } catch {
    return false;
  }
}

/** Returns the turns of the conversation: `{ key, question, model, asked, answer }`. */
export function keptTurns() {
  try {
    const turns = JSON.parse(kept("turns") || "[]");
    // What the page kept before it was built from the SDK, had other names.
    return turns.filter((turn) => turn.key && turn.answer).map((turn) => ({ ...turn, answer: { ...turn.answer, toolCalls: turn.answer.toolCalls || [] } }));
  } catch {
    return []; // not ours, or from another version of the page
  }
}

/** Where there is no room for all turns, the newest are kept. */
function keepTurns(turns) {
  for (let from = 0; from <= turns.length; from += 1) {
    if (keep("turns", JSON.stringify(turns.slice(from)))) return;
  }
}

/**
 * Keeps the turns that `current()` returns: `soon` while an answer grows, `now` when something is decided. `onOther` is
 * called with the turns that another tab has kept.
 */
export function turnKeeper({ current, onOther }) {
  let timer = null;
  function now() {
    clearTimeout(timer);
    timer = null;
    keepTurns(current());
  }
  function soon() {
    if (timer === null) timer = setTimeout(now, EVERY);
  }
  window.addEventListener("pagehide", () => timer !== null && now());
  document.addEventListener("visibilitychange", () => document.hidden && timer !== null && now());
  window.addEventListener("storage", (event) => event.key === TURNS && onOther(keptTurns()));
  return { now, soon };
}
