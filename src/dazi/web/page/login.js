/**
 * Asks for an API key and exchanges it for the gateway's cookie.
 *
 * Laws: one dialog, however many calls were refused; the key is sent once and kept nowhere.
 */

import { t } from "./words.js";

/** Makes the dialog: `ask()` resolves to whether the person is signed in now. */
export function loginDialog({ api, dialog, onSignedIn }) {
  const [form, field, trouble] = ["form", "[type=password]", "[role=alert]"].map((name) => dialog.querySelector(name));
  let asked = null; // the promise that callers wait for while the dialog is open
  let answer; // resolves it

  function ask() {
    asked ??= new Promise((resolve) => {
      answer = resolve;
      trouble.textContent = "";
      dialog.showModal();
    });
    return asked;
  }

  function close(isSignedIn) {
    field.value = "";
    asked = null;
    if (dialog.open) dialog.close();
    answer?.(isSignedIn);
  }

  async function submit(event) {
    event.preventDefault();
    try {
      await api.signIn(field.value.trim());
      onSignedIn();
      close(true);
    } catch (refused) {
      trouble.textContent = t(refused.status === 401 || refused.status === 422 ? "keyWrong" : "keyTrouble");
      field.select();
    }
  }

  form.addEventListener("submit", submit);
  dialog.addEventListener("close", () => asked && close(false)); // Esc
  dialog.querySelector("[data-act=cancel]").addEventListener("click", () => close(false));
  return { ask };
}
