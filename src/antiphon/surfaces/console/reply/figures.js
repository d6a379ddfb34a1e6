// Beside a reply: why it ended, what it used, how fast it came; its raw events, and the same request elsewhere.

import { code } from "../base/markdown.js";
import { copy, h } from "../base/dom.js";
import { dialog, menu } from "../base/dialogs.js";
import { askAgain } from "../conversation/again.js";
import { goOn, retry } from "../conversation/conversation.js";
import { figures, resumable } from "./reply.js";
import { seconds } from "./blocks.js";
import { snippet } from "./snippets.js";
import { messages } from "../conversation/request.js";
import { state } from "../conversation/store.js";

const count = new Intl.NumberFormat("en");

/** The line of figures below a finished reply. */
export function beside(turn, attempt) {
  const { reply } = turn;
  const found = figures(reply);
  const facts = [];
  const fact = (value, what, title, more = "") =>
    facts.push(h(`div${more}`, { title }, h("dt", {}, what), h("dd", {}, value)));
  if (reply.stopReason) fact(reply.stopReason, h("span.unseen", {}, "stop reason"), "Why the reply ended", ".reason");
  if (found) {
    fact(count.format(found.fresh), "new", "Prompt tokens that had to be computed");
    fact(count.format(found.cached), "from cache", "Prompt tokens that were computed before");
    fact(count.format(found.written), "written", "Tokens of the reply");
    if (found.wait !== null) fact(seconds(found.wait), "to first token", "From sending to the first token");
    if (found.pace !== null) fact(found.pace.toFixed(found.pace < 10 ? 1 : 0), "tokens/s", "Pace after the first token");
  }
  for (const [name, times] of Object.entries(reply.usage?.server_tool_use ?? {})) {
    if (times) fact(count.format(times), name.replaceAll("_", " "), "Tools that the server ran for this reply");
  }
  const { temperature } = reply.body ?? reply.parameters ?? {};
  if (temperature !== undefined) fact(String(temperature), "temperature", "As it was asked for");
  const button = (label, onclick, more = {}) => h("button.quiet", { type: "button", onclick, ...more }, label);
  return h("footer.figures", {}, facts.length ? h("dl", {}, facts) : null, h("div.acts-row", {},
    button("Prompt", () => document.dispatchEvent(new CustomEvent("inspect", { detail: turn })), { title: "What the model saw" }),
    button("Events", () => events(reply), { title: "The raw events" }),
    button("Copy as…", (event) => copies(event.currentTarget, turn), { "aria-haspopup": "menu" }),
    button("Retry", () => attempt(() => retry(turn)), { title: "Another version, with the settings of the conversation" }),
    button("Retry with…", () => askAgain(turn, attempt), { "aria-haspopup": "dialog", title: "Another version, with other settings" }),
    turn === state.turns.at(-1) && resumable(turn) && button("Continue", () => attempt(goOn), { title: "Go on where it broke off" })));
}

/** What went wrong, and what to do about it; null where nothing did. */
export function failure(turn, attempt) {
  const { error } = turn.reply;
  if (!error) return null;
  const wait = error.retryAfter ? ` The server asks to wait ${error.retryAfter} s.` : "";
  return h("div.failure", { role: "alert" },
    h("strong", {}, TITLES[error.type] ?? "The request failed"), h("p", {}, error.message, wait),
    h("p.hint", {}, advice(error), " ", h("code", {}, [error.type, error.requestId].filter(Boolean).join(" "))),
    h("div.row", {}, h("button.outlined", { type: "button", onclick: () => attempt(() => retry(turn)) }, "Try again")));
}

const TITLES = {
  api_error: "The server failed",
  authentication_error: "A key is needed",
  connection_error: "No connection",
  invalid_request_error: "The server cannot take this request",
  overloaded_error: "The server is busy",
  permission_error: "Not from here",
  rate_limit_error: "Too much at once",
  request_too_large: "Too large",
  timeout_error: "It took too long",
};

function advice({ type, status }) {
  if (type === "overloaded_error" || type === "rate_limit_error") return "Nothing is lost: try again in a moment.";
  if (type === "authentication_error") return "Try again, and enter a key that the server was started with.";
  if (type === "connection_error") return "See whether the server still runs, then try again.";
  if (status === 400 || status === 413) return "Change the message or the settings that it names, then try again.";
  return "The server's log says more.";
}

function events(reply) {
  if (!reply.events?.length) {
    dialog("Raw events", h("p", {}, "Raw events last as long as the page; those of this reply are gone."));
    return;
  }
  const all = reply.events.map(({ event, data }) => `event: ${event}\ndata: ${data}\n\n`).join("");
  const rows = reply.events.map(({ event, data, at }) =>
    h("li", {}, h("time", {}, `${at.toFixed(0)} ms`), h("code", {}, h("b", {}, event), ` ${data}`)));
  dialog(`${count.format(rows.length)} raw events`,
    h("div.row", {}, h("button.outlined", { type: "button", onclick: () => copy(all, "Events") }, "Copy all")),
    h("ol.events", { tabindex: 0, "aria-label": "Events" }, rows));
}

function copies(opener, turn) {
  const kinds = { curl: "curl", python: "Python", typescript: "TypeScript" };
  menu(opener, Object.entries(kinds).map(([kind, name]) => ({
    label: name,
    run: () => {
      const text = snippet(kind, bodyFor(turn));
      dialog(`The same request in ${name}`,
        h("p.hint", {}, "It asks this server for the same reply; set ", h("code", {}, "ANTHROPIC_API_KEY"), " where a key is asked for."),
        code(text, kind === "curl" ? "shell" : kind));
      copy(text, name);
    },
  })));
}

/** The body that a reply answers; after a reload it is put together again from what was kept. */
export function bodyFor(turn) {
  const { body, parameters } = turn.reply;
  return body ?? { ...parameters, messages: messages(state.turns.slice(0, state.turns.indexOf(turn))) };
}
