// Two views of a rendered prompt: the text with its spans told apart, and the tokens with their ids.

import { h } from "../base/dom.js";

const MOST = 20000;

/** The text, each stretch by its role and kind, cut where the cached part ends and where the prompt diverged. */
export function marked(told, cached) {
  const node = h("pre.prompt", { tabindex: 0, "aria-label": "Prompt" });
  for (const run of runs(told, cached)) {
    if (run.diverged) node.append(h("span.here", { role: "note" }, "parts here"));
    const classes = [run.span.type, "role", run.span.role ?? "none", ...(run.held ? ["held"] : [])];
    node.append(h(`span.${classes.join(".")}`, { title: about(run) }, lines(run.text, run.span.type)));
  }
  return node;
}

/** The tokens, each above its id. */
export function numbered(told, cached) {
  const node = h("div.prompt.ids", { tabindex: 0, "aria-label": "Tokens" });
  const skipped = Math.max(0, told.ids.length - MOST);
  if (skipped) node.append(h("span.hint", {}, `${skipped} tokens before these are not shown`));
  for (const run of runs(told, cached)) {
    if (run.diverged) node.append(h("span.here", { role: "note" }, "parts here"));
    for (let at = Math.max(run.first, skipped); at < run.end; at += 1) {
      const text = told.tokens[at];
      node.append(h(`span.token.role.${run.span.role ?? "none"}${run.held ? ".held" : ""}`, { dataset: { id: told.ids[at] } },
        h(`span.${run.span.type}`, {}, text === "" ? "·" : text.replaceAll("\n", "↵").replace(/^ | $/g, "␣")),
        h("small", {}, String(told.ids[at]))));
      if (text.includes("\n")) node.append(h("span.break", { "aria-hidden": "true" }));
    }
  }
  return node;
}

/** What the marks mean; only those that are there. */
export function legend(told, cached) {
  const kinds = [
    ["control", "control token"],
    ["template", "from the template"],
    ["fenced", "typed like a control token, kept as text"],
    ["remembered", "remembered from a reply"],
  ].filter(([kind]) => told.spans.some((span) => span.type === kind));
  const roles = ["system", "user", "assistant", "tool"].filter((role) => told.spans.some((span) => span.role === role));
  return h("ul.legend", { "aria-label": "Legend" },
    roles.map((role) => h("li", {}, h(`span.swatch.text.${role}`, {}, "■"), role)),
    kinds.map(([kind, means]) => h("li", {}, h(`span.swatch.${kind}.none`, {}, "abc"), means)),
    cached ? h("li", {}, h("span.swatch.held", {}, "abc"), "from the cache") : null);
}

/** The spans, cut at the ends of the cached part and at the first token that diverged. */
function* runs(told, cached) {
  const diverged = told.previous?.diverged_token ?? null;
  const cuts = [cached, diverged].filter((each) => each !== null);
  for (const span of told.spans) {
    const inside = cuts.filter((cut) => cut > span.first_token && cut < span.end_token);
    const places = [...new Set([span.first_token, ...inside, span.end_token])].sort((one, other) => one - other);
    let rest = span.text;
    for (let index = 0; index < Math.max(places.length - 1, 1); index += 1) {
      const [first, end] = [places[index], places[index + 1] ?? places[index]];
      const last = index >= places.length - 2;
      const length = last ? rest.length : told.tokens.slice(first, end).join("").length;
      yield { span, first, end, text: rest.slice(0, length), held: end <= cached, diverged: first === diverged && end > first };
      rest = rest.slice(length);
    }
  }
}

function about({ span, held }) {
  const kind = { control: "control token", template: "from the template", text: "text", fenced: "fenced text", remembered: "remembered" };
  return [span.role, kind[span.type], held ? "from the cache" : ""].filter(Boolean).join(", ");
}

/** The text with its ends of lines made visible, where they are not the client's. */
function lines(text, type) {
  if (type === "text") return [text];
  return text.split("\n").flatMap((line, index) => (index ? [h("i.newline", { "aria-hidden": "true" }, "↵"), "\n", line] : [line]));
}
