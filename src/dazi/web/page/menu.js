/** The menu: the language, and logging out where somebody logged in. */

import { keep, kept } from "./history.js";
import { speak, spoken } from "./words.js";

export function menu({ api, onLanguage }) {
  const element = document.querySelector("#menu");
  const languages = [...element.querySelectorAll("[data-language]")];
  const out = element.querySelector("#sign-out");

  function mark() {
    languages.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.language === spoken())));
    out.hidden = kept("signedIn") !== "yes";
  }

  function choose(language) {
    keep("language", language);
    speak(language);
    mark();
    onLanguage();
  }

  async function signOut() {
    await api.signOut().catch(() => {});
    keep("signedIn", "no");
    location.reload();
  }

  function close(event) {
    const isOutside = event.type === "keydown" ? event.key === "Escape" : !element.contains(event.target);
    if (isOutside) element.open = false;
  }

  languages.forEach((button) => button.addEventListener("click", () => choose(button.dataset.language)));
  out.addEventListener("click", signOut);
  element.addEventListener("toggle", mark);
  document.addEventListener("pointerdown", close);
  document.addEventListener("keydown", close);
  mark();
}
