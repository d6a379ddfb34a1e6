// Puts the page together.

import { askWith, json } from "./base/api.js";
import { takeFiles } from "./conversation/attachments.js";
import { composer } from "./conversation/composer.js";
import { drawWith, retry, stop, turnTo } from "./conversation/conversation.js";
import { askForKey, menu } from "./base/dialogs.js";
import { choice, fill, h, icon, iconButton, offer, toast } from "./base/dom.js";
import { askToDeleteAll, history } from "./library/history.js";
import { Inspector } from "./panel/inspector.js";
import { begin as beginAnew, keep, restore } from "./library/library.js";
import { KeysPage } from "./accounts/keys.js";
import { Live } from "./panel/live.js";
import { addPage, followAddress, goTo, pageLinks, shownPage } from "./base/pages.js";
import { Unsendable } from "./conversation/request.js";
import { settingsPanel } from "./conversation/settings.js";
import { bind, explain } from "./base/shortcuts.js";
import { choose, changed, on, state } from "./conversation/store.js";
import { thread } from "./conversation/thread.js";
import { exportShown, importFile } from "./library/transfer.js";
import { versions } from "./conversation/tree.js";
import { UsagePage } from "./accounts/usage.js";

const THEME = "antiphon.theme";
const HISTORY = "antiphon.history";
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
  const list = iconButton("list", "Conversations", () => showHistory(at("history").hidden), { "aria-expanded": "false", "aria-controls": "history", id: "history-button" });
  list.classList.add("chat-only");
  fill(at("head"), list, h("div.brand", {}, icon("mark", 24), h("span", {}, "Antiphon")),
    h("div.model.chat-only", {}, picker, about), h("div.gap"), pageLinks(),
    h("div.tabs.chat-only", { role: "group", "aria-label": "Panels" }, tab("settings", "Settings"), tab("prompt", "Prompt"), tab("live", "Live")),
    h("div.tools", {}, iconButton("add", "New conversation", begin),
      iconButton("more", "More", (event) => more(event.currentTarget), { "aria-haspopup": "menu" })));
}

function capabilities(model) {
  if (!model) return "";
  const can = (name) => model.capabilities?.[name]?.supported;
  const window = new Intl.NumberFormat("en").format(model.max_input_tokens);
  return [`${window} tokens`, can("image_input") && "sees", can("thinking") && "thinks"].filter(Boolean).join(" · ");
}

async function begin() {
  goTo();
  await beginAnew();
  state.attached = [];
  changed("attached");
  at("composer-text").focus();
}

/** Show or hide the list of conversations; kept for the next time. */
function showHistory(wanted) {
  at("history").hidden = !wanted;
  at("stage").classList.toggle("listed", wanted);
  at("history-button").setAttribute("aria-expanded", String(wanted));
  localStorage.setItem(HISTORY, wanted ? "shown" : "");
}

/** Show the list and go there, or leave it. */
function toHistory() {
  const wanted = !at("history").contains(document.activeElement);
  if (wanted || narrow()) showHistory(wanted);
  (wanted ? document.querySelector("#history input") : at("composer-text")).focus();
}

const narrow = () => matchMedia("(max-width: 60rem)").matches;

function more(opener) {
  menu(opener, [
    { label: "Export conversation", run: exportShown },
    { label: "Import conversation", run: importFile },
    { label: "Delete all conversations", run: askToDeleteAll },
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

/** Those that are about turns do nothing while another page is shown; the others go to the conversation first. */
const SHORTCUTS = [
  { keys: "/", does: "write a message", run: inChat(() => at("composer-text").focus()) },
  { keys: "n", does: "new conversation", run: begin },
  { keys: "c", does: "conversations", run: inChat(toHistory) },
  { keys: "[", does: "version before, of the turn that has the focus", run: onTurns(() => toVersion(-1)) },
  { keys: "]", does: "next version", run: onTurns(() => toVersion(1)) },
  { keys: "r", does: "ask again for the last reply", run: onTurns(() => attempt(() => retry(state.turns.findLast((turn) => turn.reply)))) },
  { keys: "e", does: "edit the turn that has the focus, or your last one", run: onTurns(editOne) },
  { keys: "j", does: "next turn", run: onTurns(() => step(1)) },
  { keys: "k", does: "turn before", run: onTurns(() => step(-1)) },
  { keys: "s", does: "settings", run: inChat(() => showPanel("settings", true)) },
  { keys: "p", does: "prompt", run: inChat(() => showPanel("prompt", true)) },
  { keys: "l", does: "live", run: inChat(() => showPanel("live", true)) },
  { keys: "m", does: "choose the model", run: inChat(() => document.querySelector(".model select").focus()) },
  { keys: "u", does: "usage", run: () => goTo("usage") },
  { keys: "a", does: "keys, for access", run: () => goTo("keys") },
  { keys: "t", does: "light or dark", run: turnColours },
  { keys: "?", does: "this list", run: () => explain(SHORTCUTS) },
];

function inChat(run) {
  return () => {
    goTo();
    run();
  };
}

function onTurns(run) {
  return () => shownPage() || run();
}

/** Go to another version of the turn that has the focus, or of the last one that has versions. */
function toVersion(by) {
  const here = document.activeElement?.closest(".turn");
  const place = here ? state.turns.findIndex((turn) => turn.id === here.id)
    : state.turns.findLastIndex((turn) => versions(state.all, turn).length > 1);
  if (place < 0) return;
  turnTo(state.turns[place], by);
  document.getElementById(state.turns[place].id)?.focus();
}

function editOne() {
  const turn = document.activeElement?.closest(".turn") ?? [...document.querySelectorAll(".turn.user")].at(-1);
  turn?.querySelector('[data-act="edit"]')?.click();
}

function escape(event) {
  if (event.target.closest?.("dialog")) return;
  if (state.running) stop();
  else if (event.target.closest?.("input, textarea, select")) event.target.blur();
  else if (shownPage()) goTo();
  else if (shownPanel) showPanel(null);
  else if (narrow() && !at("history").hidden) showHistory(false);
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

async function start() {
  const theme = localStorage.getItem(THEME);
  if (theme) document.documentElement.dataset.theme = theme;
  askWith(askForKey);
  await restore();
  keep();
  const usage = new UsagePage();
  const keys = new KeysPage();
  addPage("usage", "Usage", usage.node, () => usage.refresh());
  addPage("keys", "Keys", keys.node, () => keys.refresh());
  head();
  const inspector = new Inspector();
  const live = new Live();
  panels.settings = { node: settingsPanel() };
  panels.prompt = { node: inspector.node, shown: () => inspector.refresh() };
  panels.live = { node: live.node, shown: () => live.start() };
  drawWith(thread(at("thread"), attempt));
  composer(at("dock"), attempt);
  history(at("history"), { begin, chosen: () => narrow() && showHistory(false) });
  showHistory(Boolean(localStorage.getItem(HISTORY)) && !narrow());
  takeFiles();
  bind(SHORTCUTS, escape);
  document.addEventListener("inspect", (event) => {
    inspector.of(event.detail);
    showPanel("prompt");
  });
  // Another key may use other models.
  document.addEventListener("key", learnModels);
  document.addEventListener("panel", (event) => showPanel(event.detail));
  at("composer-text").focus();
  followAddress();
  learnModels();
}

start();
