/**
 * Where a question is written.
 *
 * Laws: Enter sends and Shift+Enter breaks the line, but never while an input method is composing: there Enter chooses a
 * word; what is written stays while an answer is being typed.
 */

const find = (name) => document.querySelector(name);
const COMPOSING = 229; // the key code of a key that the input method took; Safari tells only so, right after composing

/** Makes the composer: `onSend(question)`, `onStop()`, `onDraft()` when what is written changes. */
export function composer({ onSend, onStop, onDraft }) {
  const [form, field, send, stop] = ["#composer", "#question", "#send", "#stop"].map(find);
  let isBusy = false;

  function submit(event) {
    event?.preventDefault();
    const question = field.value.trim();
    if (!question || isBusy) return;
    field.value = "";
    changed();
    onSend(question);
  }

  function onKey(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === COMPOSING) return;
    event.preventDefault();
    submit();
  }

  function changed() {
    send.disabled = !field.value.trim();
    grow();
    onDraft();
  }

  /** Where CSS cannot let the field grow by itself. */
  function grow() {
    if (CSS.supports("field-sizing", "content")) return;
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight}px`;
  }

  function busy(next) {
    isBusy = next;
    const hadFocus = [send, stop].includes(document.activeElement);
    send.hidden = next;
    stop.hidden = !next;
    if (hadFocus) (next ? stop : field).focus({ preventScroll: true });
  }

  form.addEventListener("submit", submit);
  field.addEventListener("keydown", onKey);
  field.addEventListener("input", changed);
  stop.addEventListener("click", onStop);
  send.disabled = !field.value.trim(); // browsers bring a draft back
  const focus = () => matchMedia("(hover: hover)").matches && field.focus(); // elsewhere it would raise the keyboard
  focus();

  return { busy, focus, draft: () => field.value };
}
