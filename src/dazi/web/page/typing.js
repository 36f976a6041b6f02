/** Types a text out by the SDK's typewriter; nothing is animated for a hidden page, or for who wants it still. */

import { createTypewriter } from "./sdk.js";

const quiet = window.matchMedia("(prefers-reduced-motion: reduce)");

/**
 * Makes a typewriter. `show(shown)` is called when more (or, after a retraction, other) text is to be seen; `rested`
 * once everything is, after the end.
 */
export function typing({ show, rested = () => {} }) {
  const typewriter = createTypewriter(({ text, done }) => {
    show(text);
    if (done) rest();
  });
  const hurry = () => document.hidden && typewriter.flush(); // its timers may sleep for a minute
  document.addEventListener("visibilitychange", hurry);

  function rest() {
    document.removeEventListener("visibilitychange", hurry);
    rested();
  }

  function settle() {
    if (document.hidden || quiet.matches) typewriter.flush();
  }

  return {
    update(text) {
      typewriter.replace(text);
      settle();
    },
    end() {
      typewriter.end();
      settle();
    },
    /** Shows without typing what was seen already, before a reload. */
    skip(text) {
      typewriter.replace(text);
      typewriter.flush();
    },
  };
}
