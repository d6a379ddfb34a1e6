// Dialogs and menus.

import { h, iconButton } from "./dom.js";

/** Show a dialog with this title; it goes when it is closed. */
export function dialog(title, ...children) {
  const heading = h("h2", { id: "dialog-title" }, title);
  const node = h("dialog", { "aria-labelledby": "dialog-title" },
    h("header", {}, heading, iconButton("close", "Close", () => node.close())), h("div.body", {}, children));
  node.addEventListener("close", () => node.remove());
  node.addEventListener("click", (event) => event.target === node && node.close());
  document.body.append(node);
  node.showModal();
  return node;
}

/** Ask whether something is to be done that cannot be undone. What fails is told in the dialog. */
export function confirm(question, about, label, act) {
  const trouble = h("p.trouble", { role: "alert", hidden: true });
  const run = async () => {
    try {
      await act();
      node.close();
    } catch (failure) {
      trouble.hidden = false;
      trouble.textContent = failure.message;
    }
  };
  const button = h("button.primary", { type: "button", onclick: run }, label);
  const node = dialog(question, h("p", {}, about), trouble,
    h("div.row", {}, h("button.outlined", { type: "button", onclick: () => node.close() }, "Keep"), button));
  node.classList.add("narrow");
  button.focus();
}

/** Ask for a key, in these words. Gives a promise of what was entered, or of null. */
export function askForKey(reason, wrong, words = wrong ? "That key was not accepted. Another one:" : "This server asks for a key") {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", id: "key", autocomplete: "off", required: true, "aria-describedby": "key-hint" });
    const form = h("form", { method: "dialog", class: "body" },
      h("label", { for: "key" }, words), input,
      h("p.hint", { id: "key-hint" }, "One that the operator gave you (", h("code", {}, "antiphon keys add"), "), or that the server was started with (",
        h("code", {}, "--api-key"), "). It is kept until this tab is closed, and sent to this server alone."),
      h("div.row", {}, h("button.outlined", { type: "button", onclick: () => node.close() }, "Cancel"),
        h("button.primary", { type: "submit" }, "Use this key")));
    const node = dialog("A key, please", form);
    node.classList.add("narrow");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (input.value.trim()) node.close(input.value.trim());
    });
    node.addEventListener("close", () => resolve(node.returnValue || null));
    node.title = reason;
    input.focus();
  });
}

/** Show a menu below its opener: items are `{label, run, keys?}`. */
export function menu(opener, items) {
  document.querySelector(".menu")?.remove();
  const buttons = items.map(({ label, run, keys }) =>
    h("button", { type: "button", role: "menuitem", tabindex: -1, onclick: () => { leave(); run(); } },
      h("span", {}, label), keys ? h("kbd", { "aria-hidden": "true" }, keys) : null));
  const node = h("div.menu", { role: "menu", "aria-label": opener.getAttribute("aria-label") ?? opener.textContent }, buttons);
  const outside = (event) => node.contains(event.target) || leave();
  function leave() {
    node.remove();
    document.removeEventListener("pointerdown", outside, true);
    opener.focus({ preventScroll: true });
  }
  node.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (to !== undefined) buttons.at(to % buttons.length).focus();
    if (event.key === "Escape" || event.key === "Tab") leave();
    if (to !== undefined || event.key === "Escape") event.preventDefault();
    event.stopPropagation();
  });
  document.body.append(node);
  place(node, opener.getBoundingClientRect());
  document.addEventListener("pointerdown", outside, true);
  buttons[0].focus();
}

function place(node, box) {
  const { width, height } = node.getBoundingClientRect();
  const below = box.bottom + 4 + height <= window.innerHeight;
  node.style.left = `${Math.max(8, Math.min(box.left, window.innerWidth - width - 8))}px`;
  node.style.top = `${Math.max(8, below ? box.bottom + 4 : box.top - height - 4)}px`;
}
