// The prompt inspector: what the model saw, or would see now, by /v1/messages/render.

import { fill, h, choice, offer, iconButton } from "../base/dom.js";
import { json } from "../base/api.js";
import { written } from "../conversation/composer.js";
import { draft } from "../conversation/conversation.js";
import { bodyFor } from "../reply/figures.js";
import { legend, marked, numbered } from "./promptview.js";
import { on, openCalls, state } from "../conversation/store.js";

const count = new Intl.NumberFormat("en");

/** The panel; it asks anew whenever what it shows has changed. */
export class Inspector {
  constructor() {
    this.turn = null;
    this.ids = false;
    this.asked = 0;
    this.which = choice([], "", (id) => {
      this.turn = state.turns.find((turn) => turn.id === id) ?? null;
      this.refresh();
    }, { "aria-label": "Which prompt" });
    this.toggle = h("input", { type: "checkbox", onchange: () => {
      this.ids = this.toggle.checked;
      this.draw();
    } });
    this.shown = h("div.group");
    this.node = h("div.inside.inspector", {},
      h("div.title", {}, h("h2", {}, "Prompt"), iconButton("refresh", "Ask again", () => this.refresh())),
      h("p.hint", {}, "Exactly what the model reads, by ", h("code", {}, "POST /v1/messages/render"), "."),
      h("div.row", {}, this.which, h("label.check", {}, this.toggle, "Token ids")), this.shown);
    on("turns", () => this.choices());
    on("draft settings attached turns", () => this.turn || this.later());
    this.choices();
  }

  /** Be about the prompt of this reply. */
  of(turn) {
    this.turn = turn;
    this.choices();
  }

  choices() {
    if (this.turn && !state.turns.includes(this.turn)) this.turn = null;
    const replies = state.turns.filter((turn) => turn.reply);
    const options = replies.map((turn, index) => [turn.id, `Of reply ${index + 1}`]);
    offer(this.which, [["", "Latest: what is being written, or the last reply"], ...options], this.turn?.id ?? "");
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), 250);
  }

  async refresh() {
    clearTimeout(this.timer);
    if (!this.node.isConnected) return;
    const asked = (this.asked += 1);
    try {
      const turn = this.turn ?? (nothingWritten() ? state.turns.findLast((each) => each.reply) : null);
      const body = turn ? bodyFor(turn) : draft(written());
      if (!body.messages.length) return this.nothing();
      const told = await json("v1/messages/render", { body });
      if (asked !== this.asked) return;
      this.told = told;
      this.usage = turn?.reply.usage;
      this.draw();
    } catch (trouble) {
      if (asked !== this.asked) return;
      this.told = null;
      fill(this.shown, h("p.trouble", { role: "alert" }, trouble.message));
    }
  }

  nothing() {
    this.told = null;
    fill(this.shown, h("p.hint", {}, "Write a message, and its prompt is shown here as you type."));
  }

  draw() {
    if (!this.told) return;
    const { told, usage } = this;
    const cached = usage ? (usage.cache_read_input_tokens ?? 0) : told.cached_tokens;
    const view = this.ids ? numbered(told, cached) : marked(told, cached);
    fill(this.shown, meter(told, cached, Boolean(usage)), comparison(told), legend(told, cached), view);
  }
}

/** Whether the next message would have nothing in it. */
const nothingWritten = () => !written().trim() && !state.attached.length && !openCalls().length;

function meter(told, cached, exact) {
  const track = h("div.track", { "aria-hidden": "true" });
  const part = (kind, tokens) => {
    const node = h(`span.${kind}`);
    node.style.width = `${(100 * tokens) / told.max_input_tokens}%`;
    if (tokens) track.append(node);
  };
  part("held", cached);
  part("fresh", told.input_tokens - cached);
  const held = exact ? "came from the cache" : "can come from the cache";
  return h("div.meter", {}, track, h("p", {}, h("b", {}, count.format(told.input_tokens)),
    ` of ${count.format(told.max_input_tokens)} tokens, `, h("b", {}, count.format(cached)), ` ${held}`));
}

const REASONS = {
  model_changed: "another model",
  system_changed: "the system prompt changed",
  tools_changed: "the tools changed",
  messages_changed: "an earlier message changed",
  previous_message_not_found: "the server no longer knows the message before",
  unavailable: "the template writes earlier turns differently now",
};

function comparison({ previous, tokens }) {
  if (!previous) return null;
  if (previous.diverged_token === null) {
    return h("p.continued", {}, `It goes on from all ${count.format(previous.input_tokens)} tokens of the prompt before it.`);
  }
  const at = previous.diverged_token;
  const now = tokens.slice(at, at + 8).join("");
  return h("div.parted", {},
    h("p", {}, `It parts from the prompt before it at token ${count.format(at)}: ${REASONS[previous.reason] ?? previous.reason}.`),
    h("p", {}, "Was ", h("code", {}, JSON.stringify(previous.previous_text)), ", is ", h("code", {}, JSON.stringify(now))));
}
