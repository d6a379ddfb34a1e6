// The keyboard: single keys where nothing is being written, and Escape.

import { dialog } from "./dialogs.js";
import { h } from "./dom.js";

const OFF = "antiphon.single-keys-off";

/** Bind these: each `{keys, does, run}`; `keys` is what the key types. */
export function bind(shortcuts, escape) {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return escape(event);
    const writing = event.target.closest?.("input, textarea, select, [contenteditable], dialog[open], .menu");
    if (writing || localStorage.getItem(OFF)) return;
    const found = shortcuts.find(({ keys }) => keys === event.key);
    if (!found) return;
    event.preventDefault();
    found.run();
  });
}

/** Show them all. */
export function explain(shortcuts) {
  const single = h("input", { type: "checkbox", checked: !localStorage.getItem(OFF), onchange: () => {
    if (single.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  } });
  const fixed = [
    ["Enter", "send"], ["Shift+Enter", "new line"], ["Ctrl+Enter", "send results, save an edit"],
    ["Esc", "stop the reply; leave the field, the panel"],
  ];
  const rows = [...fixed, ...shortcuts.map(({ keys, does }) => [keys, does])];
  dialog("Keyboard", h("div.keys", { role: "list" }, rows.map(([keys, does]) => [h("span", {}, h("kbd", {}, keys)), h("span", {}, does)])),
    h("label.check", {}, single, "Single keys act where nothing is being written"));
}
