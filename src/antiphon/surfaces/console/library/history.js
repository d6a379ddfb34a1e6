// The list of conversations: found by their words, opened, renamed, exported, deleted.

import * as archive from "./archive.js";
import { confirm, dialog, menu } from "../base/dialogs.js";
import { announce, fill, h, iconButton } from "../base/dom.js";
import { bring, forget, rename } from "./library.js";
import { on, state } from "../conversation/store.js";
import { exportKept } from "./transfer.js";

let heads = [];

/** Draw the list into this element. `begin` begins a new conversation; `chosen` is told when one was opened. */
export function history(node, { begin, chosen }) {
  const search = h("input", { type: "search", placeholder: "Search", "aria-label": "Search conversations", autocomplete: "off" });
  const list = h("ul");
  const none = h("p.hint", {});
  const draw = () => {
    const found = matching(search.value);
    fill(list, found.map((head) => item(head, chosen)));
    none.hidden = Boolean(found.length);
    fill(none, heads.length ? "No conversation has these words." : "What you talk about is listed here. It is kept in this browser alone.");
  };
  search.addEventListener("input", () => {
    draw();
    announce(`${matching(search.value).length} conversations`);
  });
  node.addEventListener("keydown", (event) => keyed(event, search));
  const start = h("button.outlined", { type: "button", onclick: () => { begin(); chosen(); } }, "New conversation");
  fill(node, h("div.top", {}, start, search), none, list);
  const read = async () => {
    heads = await archive.heads().catch(() => []);
    redraw(list, draw);
  };
  archive.follow(read);
  on("conversation", () => redraw(list, draw));
  read();
}

/** Draw the list anew; what had the focus has it again. */
function redraw(list, draw) {
  const { id } = document.activeElement?.closest("li")?.dataset ?? {};
  const had = id && list.contains(document.activeElement);
  draw();
  if (had) list.querySelector(`[data-id="${id}"] .open`)?.focus();
}

/** The conversations in which all of these words are found. */
function matching(words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  return heads.filter(({ title, text }) => wanted.every((word) => `${title}\n${text}`.toLowerCase().includes(word)));
}

function item(head, chosen) {
  const shown = head.id === state.conversation.id;
  const open = async () => {
    await bring(head.id);
    chosen();
    announce(`${head.title}, ${state.turns.length} turns`);
  };
  const more = (event) => menu(event.currentTarget, [
    { label: "Rename", keys: "F2", run: () => askForTitle(head) },
    { label: "Export", run: () => exportKept(head.id) },
    { label: "Delete", keys: "Del", run: () => askToDelete(head) },
  ]);
  const name = h("button.open", { type: "button", onclick: open, "aria-current": shown ? "true" : null, title: head.title },
    h("span", {}, head.title), h("time", { datetime: new Date(head.updated).toISOString() }, when(head.updated)));
  return h("li", { dataset: { id: head.id } }, name,
    iconButton("more", `More about ${head.title}`, more, { "aria-haspopup": "menu" }));
}

function keyed(event, search) {
  const names = [...event.currentTarget.querySelectorAll(".open")];
  const at = names.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1 }[event.key];
  const head = heads.find(({ id }) => id === document.activeElement?.closest("li")?.dataset.id);
  if (to !== undefined) (to < 0 ? search : names[Math.min(to, names.length - 1)])?.focus();
  else if (event.key === "F2" && head) askForTitle(head);
  else if (event.key === "Delete" && head) askToDelete(head);
  else return;
  event.preventDefault();
}

/** A time as people say it: of today the hour, of this year the day, else the date. */
function when(time) {
  const [now, then] = [new Date(), new Date(time)];
  if (now.toDateString() === then.toDateString()) return then.toLocaleTimeString("en", { timeStyle: "short" });
  const year = now.getFullYear() === then.getFullYear() ? undefined : "numeric";
  return then.toLocaleDateString("en", { day: "numeric", month: "short", year });
}

function askForTitle(head) {
  const title = h("input", { type: "text", id: "title", value: head.title, required: true, maxlength: 200, autocomplete: "off" });
  const form = h("form", { method: "dialog", class: "body" }, h("label", { for: "title" }, "Its name"), title,
    h("div.row", {}, h("button.outlined", { type: "button", onclick: () => node.close() }, "Cancel"),
      h("button.primary", { type: "submit" }, "Rename")));
  const node = dialog("Rename the conversation", form);
  node.classList.add("narrow");
  form.addEventListener("submit", () => title.value.trim() && rename(head.id, title.value.trim()));
  title.select();
}

function askToDelete(head) {
  confirm(`Delete “${head.title}”?`, "It is kept nowhere else.", "Delete", () => forget(head.id));
}

/** Ask whether all conversations are to be deleted. */
export function askToDeleteAll() {
  const many = heads.length === 1 ? "The one conversation" : `All ${heads.length} conversations`;
  confirm("Delete everything?", `${many} in this browser will be gone. They are kept nowhere else.`, "Delete", () => forget());
}
