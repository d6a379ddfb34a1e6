// How each kind of content block looks. A view is drawn once and then told what its block has become.

import { field, fill, h } from "../base/dom.js";
import { folded } from "../base/fold.js";
import { Prose } from "../base/markdown.js";
import { citedView, isResult, ranView } from "./ran.js";
import { changed, openCalls, state } from "../conversation/store.js";

/** The view of a block of this kind: `{node, update(block)}`. */
export function viewOf(block, turn) {
  if (block.type === "text") return turn.role === "assistant" ? prose() : said();
  if (block.type === "thinking" || block.type === "redacted_thinking") return thinking();
  if (block.type.endsWith("tool_use")) return call(turn);
  if (block.type === "tool_result") return result();
  if (isResult(block)) return ranView();
  if (block.type === "image") return image(block);
  return other();
}

function said() {
  const node = h("p.said");
  return { node, update: (block) => fill(node, block.text) };
}

function prose() {
  const view = new Prose();
  const sources = citedView();
  const update = (block) => {
    view.update(block.text);
    view.node.classList.toggle("grows", Boolean(block.open));
    sources.update(block);
  };
  return { node: h("div.words", {}, view.node, sources.node), update };
}

function thinking() {
  const words = h("summary");
  const thought = h("div.thought");
  const node = h("details.thinking", {}, words, thought);
  const update = (block) => {
    const long = block.seconds > 0.05 ? ` for ${seconds(block.seconds)}` : "";
    fill(words, block.open ? "Thinking…" : block.thinking ? `Thought${long}` : `Thought${long}, not shown`);
    fill(thought, block.thinking ?? "");
    words.classList.toggle("growing", Boolean(block.open));
  };
  return { node, update };
}

/** A span of time, as people say it. */
export function seconds(value) {
  return value < 0.95 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(value < 10 ? 1 : 0)} s`;
}

function call(turn) {
  const name = h("b");
  const id = h("span.id");
  const input = h("pre", { tabindex: 0 });
  const fold = folded(input);
  const where = h("span.hint");
  const slot = h("div");
  const node = h("section.call", {}, h("header", {}, where, name, id), fold.node, slot);
  let form = null;
  const update = (block) => {
    node.setAttribute("aria-label", `Call of ${block.name}`);
    const here = block.type !== "tool_use";
    node.classList.toggle("here", here);
    fill(where, here ? `${block.server_name ?? "the server"} runs` : "calls");
    fill(name, block.name);
    fill(id, block.id);
    id.title = block.id;
    if (block.open) fill(input, h("span.growing", {}, block.partial));
    else fill(input, block.cut ? [block.partial ?? "", "  … cut off"] : coloured(block.input));
    fold.measure(input.textContent);
    const open = turn === state.turns.at(-1) && openCalls().includes(block);
    if (open) form ??= answer(block);
    else form = null;
    if (slot.firstChild !== form) fill(slot, form);
  };
  return { node, update };
}

/** Where the result of a call is written. */
function answer(block) {
  const kept = (state.answers[block.id] ??= { text: "", failed: false });
  const text = h("textarea", {
    rows: 2,
    value: kept.text,
    spellcheck: false,
    placeholder: "What the tool gives back: text or JSON",
    dataset: { answers: block.id },
    oninput: () => {
      kept.text = text.value;
      changed("draft");
    },
  });
  const failed = h("input", {
    type: "checkbox",
    checked: kept.failed,
    onchange: () => {
      kept.failed = failed.checked;
      changed("draft");
    },
  });
  const last = openCalls().at(-1) === block;
  const button = last && h("button.primary", { type: "button", dataset: { send: "" } }, "Send results");
  return h("div.answer", {}, field(`Result of ${block.name}`, text),
    h("div.row", {}, h("label.check", {}, failed, "The tool failed"), button));
}

/** JSON, written out and told apart by colour. */
function coloured(value) {
  const text = JSON.stringify(value ?? {}, null, 2);
  const token = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d[\d.eE+-]*/g;
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(token)) {
    parts.push(text.slice(at, match.index));
    const kind = match[2] ? "name" : match[1] ? "word" : "number";
    parts.push(h(`span.${kind}`, {}, match[1] ?? match[0]), match[2] ?? "");
    at = match.index + match[0].length;
  }
  return [...parts, text.slice(at)];
}

function result() {
  const name = h("b");
  const output = h("pre", { tabindex: 0 });
  const fold = folded(output);
  const node = h("section.call.result", {}, h("header", {}, h("span.hint", {}, "result of"), name), fold.node);
  const update = (block) => {
    const called = state.turns.flatMap((turn) => turn.content).find((each) => each.id === block.tool_use_id);
    node.setAttribute("aria-label", `Result of ${called?.name ?? "a call"}`);
    fill(name, called?.name ?? block.tool_use_id);
    node.classList.toggle("failed", Boolean(block.is_error));
    const content = typeof block.content === "string" ? block.content : JSON.stringify(block.content ?? "", null, 2);
    fill(output, block.is_error ? "failed: " : "", content || h("span.hint", {}, "nothing"));
    fold.measure(content);
  };
  return { node, update };
}

function image(block) {
  const node = h("div.attached", {}, h("img", { src: source(block), alt: "Picture sent with the message" }));
  return { node, update: () => {} };
}

/** The address of a block's picture; pictures elsewhere are not fetched by the page. */
export function source(block) {
  const { type, media_type: kind, data } = block.source;
  return type === "base64" && /^image\/[\w.+-]+$/.test(kind) ? `data:${kind};base64,${data}` : "";
}

function other() {
  const node = h("div.attached");
  const update = (block) => {
    const about = block.title ?? block.type.replaceAll("_", " ");
    fill(node, h("span.chip", {}, h("span.label", {}, block.type === "document" ? `Document: ${about}` : about)));
  };
  return { node, update };
}
