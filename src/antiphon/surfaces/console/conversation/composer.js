// Where one writes: the message, what is attached, send and stop.

import { ACCEPTED, attach, attachedList } from "./attachments.js";
import { fill, h, icon, iconButton } from "../base/dom.js";
import { send, stop } from "./conversation.js";
import { changed, on, openCalls, state } from "./store.js";

const text = h("textarea", {
  id: "composer-text",
  rows: 1,
  "aria-label": "Message",
  "aria-describedby": "composer-hint",
  enterkeyhint: "send",
});

/** The text being written. */
export const written = () => text.value;

/** Draw the composer into this element. `attempt` runs what may be unsendable, and says so. */
export function composer(node, attempt) {
  const files = h("input", { type: "file", multiple: true, accept: ACCEPTED, hidden: true, "aria-label": "Files" });
  files.addEventListener("change", () => {
    attach([...files.files]);
    files.value = "";
  });
  const button = h("button.send.primary", { type: "submit" });
  const hint = h("span.hint", { id: "composer-hint" });
  const go = () => {
    if (state.running) return;
    const before = state.turns;
    attempt(() => send(text.value));
    if (state.turns !== before) write("");
  };
  const form = h("form.composer", {}, attachedList(), text,
    h("div.bar", {}, iconButton("attach", "Attach pictures or documents", () => files.click()), files, hint, button));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (state.running) stop();
    else go();
  });
  text.addEventListener("input", () => changed("draft"));
  text.addEventListener("keydown", (event) => entered(event, go));
  document.addEventListener("click", (event) => event.target.closest?.("[data-send]") && go());
  document.addEventListener("keydown", (event) => {
    const answering = event.target.matches?.("[data-answers]");
    if (answering && event.key === "Enter" && (event.ctrlKey || event.metaKey)) go();
  });
  document.addEventListener("write", (event) => {
    write(event.detail);
    text.focus();
  });
  const draw = () => about(button, hint);
  on("turns running draft attached", draw);
  on("running", () => {
    // What comes next is the result of a call: the hands are already on the keyboard.
    const idle = document.activeElement === text && !text.value;
    if (idle) document.querySelector("[data-answers]")?.focus();
  });
  draw();
  fill(node, form);
}

function entered(event, go) {
  if (event.key !== "Enter" || event.shiftKey || event.altKey || event.isComposing) return;
  // On a phone Enter is the only way to a new line.
  if (matchMedia("(pointer: coarse)").matches && !event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  go();
}

function about(button, hint) {
  const open = openCalls().length;
  if (state.running) fill(button, icon("stop", 18), "Stop");
  else fill(button, icon("send", 18), open ? "Send results" : "Send");
  button.disabled = !state.running && !open && !text.value.trim() && !state.attached.length;
  fill(hint, state.running ? "Esc stops" : "Enter sends, Shift+Enter starts a new line");
  text.placeholder = open ? `Results go with it; add a message if you like` : "Message";
}

function write(value) {
  text.value = value;
  changed("draft");
}
