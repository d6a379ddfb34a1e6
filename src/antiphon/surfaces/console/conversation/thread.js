// The turns of the conversation, each drawn once and brought up to date while it grows.

import { fill, h, iconButton, copy } from "../base/dom.js";
import { viewOf } from "../reply/blocks.js";
import { edit, remove, retry, turnTo } from "./conversation.js";
import { beside, failure } from "../reply/figures.js";
import { reading } from "../reply/reply.js";
import { on, state } from "./store.js";
import { versions } from "./tree.js";
import { welcome } from "./welcome.js";

const views = new WeakMap();

/** Draw the conversation into this element. `attempt` runs what may be unsendable, and says so. */
export function thread(node, attempt) {
  const list = h("div.turns");
  const draw = () => {
    const drawn = state.turns.map((turn) => viewOfTurn(turn, attempt));
    for (const view of drawn) view.refresh();
    if (!drawn.length) fill(node, welcome());
    else {
      if (list.parentNode !== node) fill(node, list);
      replaceFromFirstChange(list, drawn.map((view) => view.node));
      toEnd(node, 4);
    }
  };
  on("turns running", draw);
  on("models", () => state.turns.length || draw());
  draw();
  let due = false;
  return (turn) => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      const near = node.scrollHeight - node.scrollTop - node.clientHeight < 80;
      views.get(turn)?.update();
      if (near) toEnd(node);
    });
  };
}

function waiting(reply) {
  const read = reading(reply);
  const { read_tokens: value, prompt_tokens: max } = reply.progress ?? {};
  return h("p.growing", {}, read ? [h("span.hint", {}, read, " "), h("progress", { value, max, "aria-label": read })]
    : h("span.unseen", {}, "Waiting"));
}

/** Make these the children of a list; those that stay at its beginning are not touched, and keep focus and size. */
function replaceFromFirstChange(list, nodes) {
  let same = 0;
  while (same < nodes.length && list.childNodes[same] === nodes[same]) same += 1;
  while (list.childNodes.length > same) list.lastChild.remove();
  list.append(...nodes.slice(same));
}

/** Scroll to the end, in so many more frames, too: what comes into sight is laid out only then, and may be larger. */
function toEnd(node, frames = 0) {
  node.scrollTop = node.scrollHeight;
  if (frames) requestAnimationFrame(() => toEnd(node, frames - 1));
}

function viewOfTurn(turn, attempt) {
  if (!views.has(turn)) views.set(turn, new TurnView(turn, attempt));
  return views.get(turn);
}

class TurnView {
  constructor(turn, attempt) {
    this.turn = turn;
    this.attempt = attempt;
    this.parts = [];
    this.blocks = h("div.blocks");
    this.heading = h("h2");
    this.versions = h("div.versions");
    this.acts = h("div.acts");
    this.foot = h("div");
    this.node = h(`article.turn.${turn.role}`, { tabindex: -1, id: turn.id },
      h("header", {}, this.heading, this.versions, this.acts), this.blocks, this.foot);
  }

  /** Bring the view up to date, if what it depends on has changed. The last turn always may have. */
  refresh() {
    const { turn } = this;
    const all = versions(state.all, turn);
    const last = turn === state.turns.at(-1);
    const seen = [last, all.length, all.indexOf(turn), state.editing === turn.id].join();
    if (seen === this.seen && !last) return;
    this.seen = seen;
    this.update();
  }

  update() {
    const { turn } = this;
    const running = Boolean(state.running) && turn === state.turns.at(-1);
    fill(this.heading, this.title());
    this.offerVersions();
    if (state.editing === turn.id) return this.edit();
    this.editor = null;
    const content = turn.content.filter(Boolean);
    const views = content.map((block, index) => this.part(block, index));
    const nothing = running && !content.length ? waiting(turn.reply) : null;
    const wanted = nothing ? [nothing] : views.map((view) => view.node);
    if (nothing || wanted.length !== this.blocks.childNodes.length || wanted.some((n, i) => n !== this.blocks.childNodes[i])) {
      fill(this.blocks, wanted);
    }
    content.forEach((block, index) => views[index].update(block));
    fill(this.acts, running ? null : this.actions());
    if (turn.reply) fill(this.foot, failure(turn, this.attempt), running ? null : beside(turn, this.attempt));
  }

  part(block, index) {
    const kept = this.parts[index];
    if (kept?.type === block.type && (kept.block === block || block.open)) return kept.view;
    const view = viewOf(block, this.turn);
    this.parts[index] = { type: block.type, block, view };
    return view;
  }

  title() {
    const { role, content, reply } = this.turn;
    if (role === "user") return content.some((block) => block.type === "tool_result") ? "Tool results" : "You";
    const body = reply?.body ?? reply?.parameters;
    return body?.model && body.model !== "default" ? body.model : "Model";
  }

  /** The way to other versions of this turn, where there are any. */
  offerVersions() {
    const { turn } = this;
    const all = versions(state.all, turn);
    const at = all.indexOf(turn);
    const way = (name, label, by) => iconButton(name, label, () => this.turnTo(by),
      { "aria-disabled": String(!all[at + by]), dataset: { version: by } });
    fill(this.versions, all.length > 1 && [way("before", "Version before", -1),
      h("span.hint", {}, `${at + 1} of ${all.length}`), way("after", "Next version", 1)]);
  }

  turnTo(by) {
    const { node } = this;
    const place = [...node.parentNode.children].indexOf(node);
    const list = node.parentNode;
    turnTo(this.turn, by);
    list.children[place]?.querySelector(`[data-version="${by}"]`)?.focus();
  }

  actions() {
    const { turn } = this;
    const text = turn.content.filter((block) => block?.type === "text").map((block) => block.text).join("\n\n");
    const change = () => {
      state.editing = turn.id;
      this.update();
    };
    const again = () => this.attempt(() => retry(turn));
    const last = turn === state.turns.at(-1);
    return [
      text && iconButton("copy", "Copy text", () => copy(text, "Text")),
      iconButton("edit", "Edit", change, { dataset: { act: "edit" } }),
      turn.role === "assistant" && iconButton("retry", "Ask again", again, { dataset: { act: "retry" } }),
      turn.role === "user" && last && iconButton("send", "Ask for a reply", () => this.attempt(() => retry()), {}),
      iconButton("remove", "Remove this version from here on", () => remove(turn)),
    ];
  }

  edit() {
    if (this.editor) return;
    const { turn } = this;
    const before = turn.content.filter((block) => block.type === "text").map((block) => block.text).join("");
    const text = h("textarea", { value: before, "aria-label": "Text of this turn", rows: 5 });
    const done = () => {
      this.attempt(() => edit(turn, text.value));
    };
    const leave = () => {
      state.editing = null;
      this.update();
    };
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) done();
      if (event.key === "Escape") leave();
      if (event.key === "Escape" || event.key === "Enter") event.stopPropagation();
    });
    const what = turn.role === "user" ? "Save and send" : "Save";
    this.editor = h("div.editor", {}, text, h("div.row", {},
      h("button.primary", { type: "button", onclick: done }, what),
      h("button.outlined", { type: "button", onclick: leave }, "Cancel"),
      h("span.hint", {}, "What was there stays, as another version.")));
    this.parts = [];
    fill(this.blocks, this.editor);
    fill(this.acts);
    fill(this.foot);
    text.focus();
  }
}
