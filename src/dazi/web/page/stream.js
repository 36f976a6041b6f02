/**
 * Follows one generation to its end, whatever happens to the line (PROTOCOL.md, section 8).
 *
 * Laws: the start is posted under one key until its id is known, so it happens once; afterwards only reads follow, each
 * after the last frame applied; the end is told once, and only with an answer whose length and checksum hold, or that
 * was read anew; a line that breaks never ends an answer. It touches no page: `onAnswer` and `onState` tell everything.
 */

import { EMPTY, checksumHolds, fold, fromReading, lengthHolds } from "./answer.js";
import { eventDecoder } from "./sse.js";

const FIRST_BYTE_LIMIT = 8_000; // the gateway sends the first bytes at once: so long a silence is a dead or buffered line
const SILENCE_LIMIT = 12_000; // more than two heartbeats
const MUTE_LIMIT = 2; // streams in a row that brought no byte: something between holds them back, so poll
const REFUSAL_LIMIT = 6; // 5xx answers in a row before the page gives up
const REREAD_LIMIT = 3; // proofs that may fail before the line is not trusted any more, and whole answers are read instead
const REREAD_EVERY = 1_500;
const BACK_OFF_LIMIT = 10_000;
const STOP_GRACE = 2_000; // for the stream to bring the end that an abort has made
const ABORT_TRIES = 3;

const UNPROVEN = Symbol("the answer's length is not what the event claims");

/**
 * Starts (or goes on with) a generation.
 *
 * `onAnswer(answer)` is called after each frame; `onState` with `connecting`, `streaming`, `paused`, `polling` and at
 * last `ended`; `signIn` is asked when the gateway wants a key and resolves to whether there is one now.
 * Returns `stop` (end the generation), `leave` (stop reading; the generation goes on) and `nudge` (try again now).
 */
export function follow({ api, body, key, answer = EMPTY, onAnswer, onState, signIn }) {
  let left = false;
  let fruitless = 0; // attempts since a frame was applied
  let mute = 0; // streams in a row without a byte
  let refusals = 0; // 5xx answers in a row
  let rereads = 0;
  let attempt = new AbortController();
  let wake = () => {};
  let state; // the last one told
  const isOver = () => left || answer.end !== null;
  const finished = run();

  function tell(next) {
    if (state !== next) onState((state = next));
  }

  async function run() {
    tell("connecting");
    while (!isOver()) {
      attempt = new AbortController();
      const wait = await connectOnce().then(backOff, afterTrouble);
      if (!isOver() && wait !== null) await rest(wait);
    }
    if (left) return;
    await prove();
    tell("ended");
    onAnswer(answer);
  }

  /** One connection, from its request to its end. */
  async function connectOnce() {
    if (rereads > REREAD_LIMIT) return readOnce();
    if (mute >= MUTE_LIMIT) return pollOnce();
    const watch = watchdog(attempt);
    try {
      const { signal } = attempt;
      const { generation, frame } = answer;
      const response = generation ? await api.attach({ generation, frame, signal }) : await api.start({ body, key, signal });
      refusals = 0;
      if (response.status === 204) return await reread();
      if (response.body) await readFrames(response.body.getReader(), watch);
      else mute = MUTE_LIMIT; // this browser cannot stream
    } finally {
      mute = watch.sawByte() ? 0 : mute + (watch.hasBitten() ? 1 : 0);
      watch.end();
      attempt.abort(); // lets go of the connection, also when the reading stopped half-way
    }
  }

  async function readFrames(reader, watch) {
    const decoder = eventDecoder();
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
      if (isOver()) return;
      watch.touch();
      tell("streaming");
      for (const { data, id } of decoder.feed(chunk.value)) {
        const event = JSON.parse(data);
        if (event.type === "reconnect") return;
        apply(event, id);
        if (answer.end) return;
      }
    }
  }

  async function pollOnce() {
    tell("polling");
    const { signal } = attempt;
    if (!answer.generation) {
      const { generation } = await api.startUnseen({ body, key, signal });
      answer = { ...answer, generation };
    }
    const { events, next, status } = await api.poll({ ...answer, signal });
    events.forEach((event) => apply(event, event.id));
    answer = { ...answer, frame: next };
    if (!events.length && status !== "running") await reread();
    fruitless = 0;
    return "polled";
  }

  async function readOnce() {
    tell("polling");
    await reread();
    if (!answer.end) await pause(REREAD_EVERY);
    return "polled";
  }

  function apply(event, id) {
    if (isOver()) return;
    const next = fold(answer, event, id);
    if (!next.end && !lengthHolds(next, event)) throw UNPROVEN;
    answer = next;
    if (id) fruitless = 0;
    if (!answer.end) onAnswer(answer); // an end is told by `run`, once it is proven
  }

  async function prove() {
    if (answer.end.crc32 === undefined) return; // an end that only this page knows: nothing to prove it by
    if (!holds()) await reread().catch(() => {});
    answer = { ...answer, proof: holds() ? answer.proof || "held" : "broken" };
  }

  const holds = () => lengthHolds(answer, answer.end) && checksumHolds(answer);

  async function reread() {
    const { retracted } = answer;
    const whole = fromReading(await api.read(answer.generation));
    if (left) return;
    answer = { ...whole, retracted, proof: "reread" };
    if (!answer.end) onAnswer(answer);
  }

  /** Decides what a broken attempt means: returns how long to wait before the next, or null for none. */
  async function afterTrouble(trouble) {
    if (isOver()) return null;
    if (trouble === UNPROVEN || trouble.code === "bad_position") return readAnew();
    if (trouble instanceof RangeError) return endHere({ code: "too_large" });
    if (trouble.status === 401) return (await signIn()) ? null : endHere(trouble);
    if (trouble.status === 404 && answer.generation) return endHere({ ...trouble, code: "expired" });
    if (trouble.status >= 500) refusals += 1;
    const passes = !trouble.status || [408, 425, 429].includes(trouble.status) || (trouble.status >= 500 && trouble.retryable);
    if (!passes || refusals >= REFUSAL_LIMIT) return endHere(trouble);
    return Math.max(backOff(), (trouble.retryAfter || 0) * 1000);
  }

  async function readAnew() {
    rereads += 1;
    return reread().then(() => 0, afterTrouble);
  }

  /** At once the first time, then longer and longer, each a little different so that readers do not come back as one. */
  function backOff(outcome) {
    if (outcome === "polled") return null;
    const most = fruitless ? Math.min(BACK_OFF_LIMIT, 500 * 2 ** (fruitless - 1)) : 0;
    fruitless += 1;
    return most * (0.5 + Math.random() / 2);
  }

  async function rest(wait) {
    tell("paused");
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, wait);
    });
  }

  function endHere({ code, message = "", remedy, retryable = false }) {
    answer = { ...answer, end: { type: "failed", code, message, remedy, retryable } };
    return null;
  }

  async function stop() {
    if (isOver()) return;
    wake();
    const heard = await abortOnce();
    if (heard) await Promise.race([finished, pause(STOP_GRACE)]);
    if (heard && !isOver() && answer.generation) await reread().catch(() => {});
    if (!isOver()) answer = { ...answer, end: { type: "aborted" } };
    attempt.abort();
    wake();
    if (!heard) abortLater();
  }

  const abortOnce = () => api.abort({ generation: answer.generation, key }).then(() => true, () => false);

  /** The person sees the stop at once; the model is told as soon as the line allows. */
  async function abortLater() {
    for (let tries = 1; tries < ABORT_TRIES; tries += 1) {
      await pause(2_000 * tries);
      if (await abortOnce()) return;
    }
  }

  function leave() {
    left = true;
    attempt.abort();
    wake();
  }

  return { stop, leave, nudge: () => wake() };
}

/** Ends an attempt that has been silent for too long. */
function watchdog(attempt) {
  let bytes = false;
  let bitten = false;
  let timer = setTimeout(bite, FIRST_BYTE_LIMIT);
  function bite() {
    bitten = true;
    attempt.abort();
  }
  function touch() {
    bytes = true;
    clearTimeout(timer);
    timer = setTimeout(bite, SILENCE_LIMIT);
  }
  return { touch, end: () => clearTimeout(timer), sawByte: () => bytes, hasBitten: () => bitten };
}

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
