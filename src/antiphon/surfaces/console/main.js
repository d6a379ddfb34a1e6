// Puts the page together.

import { askWith, json } from "./api.js";
import { takeFiles } from "./attachments.js";
import { composer } from "./composer.js";
import { drawWith, retry, stop } from "./conversation.js";
import { askForKey, menu } from "./dialogs.js";
import { choice, fill, h, icon, iconButton, offer, toast } from "./dom.js";
import { Inspector } from "./inspector.js";
import { Live } from "./live.js";
import { Unsendable } from "./request.js";
import { settingsPanel } from "./settings.js";
import { bind, explain } from "./shortcuts.js";
import { choose, changed, on, restore, setTurns, state } from "./store.js";
import { thread } from "./thread.js";
import { open as openFile, save } from "./transfer.js";

const THEME = "antiphon.theme";
const at = (id) => document.getElementById(id);
const panels = {};
let shownPanel = null;

/** Run what may be unsendable; say so, and show where. */
function attempt(act) {
  try {
    act();
  } catch (trouble) {
    if (!(trouble instanceof Unsendable)) throw trouble;
    toast(trouble.message);
    showPanel("settings");
  }
}

/** Show a panel; the same one again, or null, hides it. */
function showPanel(name, toggle = false) {
  shownPanel = toggle && shownPanel === name ? null : name;
  const panel = at("panel");
  panel.hidden = !shownPanel;
  at("stage").classList.toggle("split", Boolean(shownPanel));
  at("stage").style.setProperty("--panel", shownPanel === "prompt" ? "min(46vw, 44rem)" : "23rem");
  fill(panel, shownPanel && panels[shownPanel].node);
  for (const button of document.querySelectorAll("[data-panel]")) {
    button.setAttribute("aria-expanded", String(button.dataset.panel === shownPanel));
  }
  panel.scrollTop = 0;
  panels[shownPanel]?.shown?.();
}

function head() {
  const picker = choice([], "", (model) => choose({ model }), { "aria-label": "Model" });
  const about = h("span.hint");
  on("models settings", () => {
    offer(picker, state.models.map((model) => [model.id, model.id]), state.settings.model);
    fill(about, capabilities(state.models.find((model) => model.id === state.settings.model)));
  });
  const tab = (name, label) => h("button", { type: "button", "aria-expanded": "false", "aria-controls": "panel",
    dataset: { panel: name }, onclick: () => showPanel(name, true) }, label);
  fill(at("head"), h("div.brand", {}, icon("mark", 24), h("span", {}, "Antiphon")), h("div.model", {}, picker, about), h("div.gap"),
    h("div.tabs", { role: "group", "aria-label": "Panels" }, tab("settings", "Settings"), tab("prompt", "Prompt"), tab("live", "Live")),
    h("div.tools", {}, iconButton("add", "New conversation", begin),
      iconButton("more", "More", (event) => more(event.currentTarget), { "aria-haspopup": "menu" })));
}

function capabilities(model) {
  if (!model) return "";
  const can = (name) => model.capabilities?.[name]?.supported;
  const window = new Intl.NumberFormat("en").format(model.max_input_tokens);
  return [`${window} tokens`, can("image_input") && "sees", can("thinking") && "thinks"].filter(Boolean).join(" · ");
}

function begin() {
  stop();
  setTurns([]);
  state.attached = [];
  changed("attached");
  at("composer-text").focus();
}

function more(opener) {
  menu(opener, [
    { label: "Export conversation", run: save },
    { label: "Import conversation", run: openFile },
    { label: `Use ${dark() ? "light" : "dark"} colours`, keys: "t", run: turnColours },
    { label: "Keyboard", keys: "?", run: () => explain(SHORTCUTS) },
  ]);
}

const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function turnColours() {
  const theme = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem(THEME, theme);
}

function step(by) {
  const turns = [...document.querySelectorAll(".turn")];
  const here = turns.indexOf(document.activeElement?.closest(".turn"));
  const next = turns[here < 0 ? (by > 0 ? 0 : turns.length - 1) : Math.min(Math.max(here + by, 0), turns.length - 1)];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

const SHORTCUTS = [
  { keys: "/", does: "write a message", run: () => at("composer-text").focus() },
  { keys: "n", does: "new conversation", run: begin },
  { keys: "r", does: "ask again for the last reply", run: () => attempt(() => retry(state.turns.findLast((turn) => turn.reply))) },
  { keys: "e", does: "edit the turn that has the focus, or your last one", run: editOne },
  { keys: "j", does: "next turn", run: () => step(1) },
  { keys: "k", does: "turn before", run: () => step(-1) },
  { keys: "s", does: "settings", run: () => showPanel("settings", true) },
  { keys: "p", does: "prompt", run: () => showPanel("prompt", true) },
  { keys: "l", does: "live", run: () => showPanel("live", true) },
  { keys: "m", does: "choose the model", run: () => document.querySelector(".model select").focus() },
  { keys: "t", does: "light or dark", run: turnColours },
  { keys: "?", does: "this list", run: () => explain(SHORTCUTS) },
];

function editOne() {
  const turn = document.activeElement?.closest(".turn") ?? [...document.querySelectorAll(".turn.user")].at(-1);
  turn?.querySelector('[data-act="edit"]')?.click();
}

function escape(event) {
  if (event.target.closest?.("dialog")) return;
  if (state.running) stop();
  else if (event.target.closest?.("input, textarea, select")) event.target.blur();
  else if (shownPanel) showPanel(null);
}

async function learnModels() {
  try {
    state.models = (await json("v1/models?limit=1000")).data;
  } catch (trouble) {
    toast(trouble.message);
  }
  const known = state.models.some((model) => model.id === state.settings.model);
  if (!known && state.models.length) state.settings.model = state.models[0].id;
  changed("models");
  changed("settings");
}

function start() {
  const theme = localStorage.getItem(THEME);
  if (theme) document.documentElement.dataset.theme = theme;
  askWith(askForKey);
  restore();
  head();
  const inspector = new Inspector();
  const live = new Live();
  panels.settings = { node: settingsPanel() };
  panels.prompt = { node: inspector.node, shown: () => inspector.refresh() };
  panels.live = { node: live.node, shown: () => live.start() };
  drawWith(thread(at("thread"), attempt));
  composer(at("dock"), attempt);
  takeFiles();
  bind(SHORTCUTS, escape);
  document.addEventListener("inspect", (event) => {
    inspector.of(event.detail);
    showPanel("prompt");
  });
  document.addEventListener("panel", (event) => showPanel(event.detail));
  at("composer-text").focus();
  learnModels();
}

start();
