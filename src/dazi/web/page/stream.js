/**
 * Follows one generation to its end, by the SDK's client, and adds what a page needs beyond it.
 *
 * Laws: the end is told once, proven by the gateway where it knows of it; an answer goes on after a reload from what the
 * browser kept; a line that stays broken never ends an answer; where a key is wanted the person is asked, and it goes on.
 */

import { EMPTY as NOTHING, createClient, fetchPlatform } from "./sdk.js";

const STOP_GRACE = 2_000; // for the stream to bring the end that an abort has made
const PATIENCE = 5_000; // between two rows of attempts over a line that stays broken

/** An answer before its first event. `after` is the position that it covers. */
export const EMPTY = Object.freeze({ ...NOTHING, generation: "", after: "0", end: null });

/**
 * Starts (or goes on with) a generation.
 *
 * `onAnswer(answer)` is called after each event; `onState` with `connecting`, `streaming`, `paused`, `polling` and at
 * last `ended`; `signIn` is asked when the gateway wants a key and resolves to whether there is one now.
 * Returns `stop` (end the generation), `leave` (stop reading; the generation goes on) and `nudge` (try again now).
 */
export function follow({ api, body, key, answer = EMPTY, onAnswer, onState, signIn }) {
  let state = "connecting";
  let isOver = false;
  let nudge = () => {};
  let timer;
  const platform = { ...fetchPlatform, watchVisibility };
  const client = createClient({ url: new URL(".", document.baseURI).href.replace(/\/$/, ""), platform });
  let following = begin();

  /** A page goes on in the background, which mini programs cannot; but what the network's return finds waiting, is tried. */
  function watchVisibility(listener) {
    nudge = () => state !== "streaming" && listener(true);
    return () => (nudge = () => {});
  }

  function begin() {
    const { generation, after } = answer;
    if (!generation) return client.ask(body, take, { key });
    // What an earlier version of the page has kept, has no position.
    const { text, reasoning, toolCalls, model, isRetracted } = after ? answer : EMPTY;
    return client.attach(generation, take, { after: after || "0", text, reasoning, toolCalls, model, isRetracted });
  }

  function take({ status, end, ...said }) {
    if (isOver) return;
    if (end) return takeEnd(end, said);
    answer = { ...answer, ...said };
    const isBack = status === "connecting" && said.generation && state !== "connecting";
    tell(isBack ? "paused" : status);
    onAnswer(answer);
  }

  function tell(next) {
    if (state !== next) onState((state = next));
  }

  function takeEnd(end, said) {
    answer = { ...answer, ...said };
    if (end.code === "connection_lost") return goOn(PATIENCE);
    if (end.code === "unauthorized") return void signIn().then((isIn) => (isIn ? goOn(0) : finish(end)));
    // What was there, and is not any more, has expired.
    finish(end.code === "not_found" && answer.generation ? { ...end, code: "expired" } : end);
  }

  function goOn(wait) {
    tell("paused");
    timer = setTimeout(again, wait);
    nudge = again;
  }

  function again() {
    clearTimeout(timer);
    if (!isOver) following = begin();
  }

  /** The client proves each end by its length and checksum before it tells it; an end of its own has neither. */
  function finish(end) {
    if (isOver) return;
    isOver = true;
    answer = { ...answer, end, proof: end.crc32 === undefined ? "none" : "held" };
    tell("ended");
    onAnswer(answer);
  }

  /** The stream brings the end with its proof; where it does not, the person sees the stop all the same. */
  async function stop() {
    if (isOver) return;
    clearTimeout(timer);
    const isHeard = await api.abort({ generation: answer.generation, key }).then(() => true, () => false);
    if (isHeard) await new Promise((resolve) => setTimeout(resolve, STOP_GRACE));
    if (isOver) return;
    following.abort(); // and again, until the gateway hears it
    finish({ type: "aborted" });
  }

  function leave() {
    isOver = true;
    clearTimeout(timer);
    following.close();
  }

  return { stop, leave, nudge: () => nudge() };
}
