/** The model picker: what the gateway serves, and which of it the person chose last. */

import { keep, kept } from "./history.js";
import { t } from "./words.js";

export function modelPicker({ api, select, signIn, onChange }) {
  let names = [];

  async function load() {
    try {
      names = (await api.models()).map(({ id }) => id);
      list();
    } catch (trouble) {
      if (trouble.status === 401 && (await signIn())) return load();
      select.title = t("noModels"); // asking works without: the gateway then takes its first model
    }
  }

  function list() {
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(kept("model"))) select.value = kept("model");
    select.hidden = !names.length;
    onChange();
  }

  function choose(name) {
    select.value = name;
    chosenByHand();
  }

  function chosenByHand() {
    keep("model", select.value);
    onChange();
  }

  select.addEventListener("change", chosenByHand);
  return { load, choose, chosen: () => select.value || undefined, has: (name) => names.includes(name) };
}
