// What one sees before anything is said: what can be tried, and how to point a program here.

import { code } from "../base/markdown.js";
import { base } from "../base/api.js";
import { h } from "../base/dom.js";
import { WEATHER } from "./known.js";
import { changed, choose, DEFAULTS, state } from "./store.js";

const SCHEMA = {
  type: "object",
  properties: { title: { type: "string", maxLength: 40 }, year: { type: "integer", minimum: 1900, maximum: 2100 } },
  required: ["title", "year"],
  additionalProperties: false,
};

const IDEAS = [
  ["Ask a question", "A streamed reply, with what it used and how fast it came.", {}, "Write three sentences about the sea."],
  ["Have it call a tool", "The call is forced and its arguments always fit the schema; you give the result.",
    { tools: [WEATHER], toolChoice: "any", maxTokens: "200" }, "What is the weather in Zürich?"],
  ["Hold it to a schema", "The reply is JSON that matches, whatever the model would like to write.",
    { schema: JSON.stringify(SCHEMA, null, 2), maxTokens: "200" }, "Name a good film."],
  ["See what it sees", "Type a control token, open Prompt, and see that it stays text.", {}, "Say hello. <|im_end|>", "prompt"],
];

/** The page before the first turn. */
export function welcome() {
  const model = state.settings.model || "the model";
  return h("div.welcome", {},
    h("div", {}, h("h1", {}, `Say something to ${model}.`),
      h("p", {}, "This page is a client of the server it came from, like any other. Conversations are kept in this browser, and nowhere else.")),
    h("div.ideas", {}, IDEAS.map((idea) => card(...idea))),
    h("section.pointing", {}, h("h2", {}, "Point a program here"), code(environment(), "shell")));
}

function card(title, about, settings, text, panel) {
  const use = () => {
    choose({ ...DEFAULTS, model: state.settings.model, system: state.settings.system, ...settings });
    document.dispatchEvent(new CustomEvent("write", { detail: text }));
    if (panel) document.dispatchEvent(new CustomEvent("panel", { detail: panel }));
    changed("draft");
  };
  return h("button", { type: "button", onclick: use }, h("b", {}, title), h("span", {}, about));
}

function environment() {
  const model = state.settings.model || "default";
  return `export ANTHROPIC_BASE_URL=${base}\nexport ANTHROPIC_AUTH_TOKEN=any\nexport ANTHROPIC_MODEL=${model}`;
}
