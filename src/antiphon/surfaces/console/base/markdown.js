// A small Markdown, made of DOM nodes: whatever a model writes can be text and a few plain elements, and nothing else.

import { copy, fill, h } from "./dom.js";

const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const FENCE = /^\s{0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^\s{0,3}([-*_])(?:\s*\1){2,}\s*$/;
const DIVIDER = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

/** Cut a text into blocks: `{kind, lines, …}`. */
export function blocks(text) {
  const lines = text.split("\n");
  const found = [];
  for (let at = 0; at < lines.length; ) {
    const block = lines[at].trim() ? blockAt(lines, at) : null;
    if (block) found.push(block);
    at = block ? block.end : at + 1;
  }
  return found;
}

function blockAt(lines, at) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return fenced(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return { kind: "heading", level: heading[1].length, text: heading[2], end: at + 1 };
  if (RULE.test(line)) return { kind: "rule", end: at + 1 };
  if (line.includes("|") && DIVIDER.test(lines[at + 1] ?? "") && lines[at + 1].includes("-")) return table(lines, at);
  if (/^\s*>/.test(line)) return run(lines, at, "quote", (next) => /^\s*>/.test(next), (each) => each.replace(/^\s*> ?/, ""));
  if (ITEM.test(line)) return run(lines, at, "list", (next) => ITEM.test(next) || /^\s{2,}\S/.test(next));
  return run(lines, at, "paragraph", (next) => !begins(next));
}

const begins = (line) => !line.trim() || FENCE.test(line) || HEADING.test(line) || RULE.test(line) || ITEM.test(line) || /^\s*>/.test(line);

function run(lines, at, kind, goesOn, change = (line) => line) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && goesOn(lines[end])) end += 1;
  return { kind, lines: lines.slice(at, end).map(change), end };
}

function fenced(lines, at, [, marks, language]) {
  const closing = new RegExp(`^\\s{0,3}${marks[0]}{${marks.length},}\\s*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end += 1;
  return { kind: "code", language, lines: lines.slice(at + 1, end), end: end + 1 };
}

function table(lines, at) {
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|")) end += 1;
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  return { kind: "table", head: cells(lines[at]), rows: lines.slice(at + 2, end).map(cells), end };
}

function element(block) {
  switch (block.kind) {
    case "heading":
      return h(`h${Math.min(block.level + 2, 6)}`, {}, inline(block.text));
    case "rule":
      return h("hr");
    case "code":
      return code(block.lines.join("\n"), block.language);
    case "quote":
      return h("blockquote", {}, blocks(block.lines.join("\n")).map(element));
    case "list":
      return list(block.lines);
    case "table":
      return h("div.scroll", { tabindex: 0, role: "group", "aria-label": "Table" }, h("table", {},
        h("thead", {}, h("tr", {}, block.head.map((cell) => h("th", { scope: "col" }, inline(cell))))),
        h("tbody", {}, block.rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, inline(cell))))))));
    default:
      return h("p", {}, inline(block.lines.join("\n")));
  }
}

/** A block of code with its language and a way to copy it. */
export function code(text, language = "") {
  const button = h("button.quiet", { type: "button", onclick: () => copy(text, "Code") }, "Copy");
  return h("div.fence", {}, h("header", {}, h("span", {}, language || "code"), button),
    h("pre", { tabindex: 0 }, h("code", {}, text)));
}

function list(lines) {
  const [, indent, mark] = ITEM.exec(lines[0]);
  const node = h(/\d/.test(mark) ? "ol" : "ul", /\d/.test(mark) ? { start: parseInt(mark, 10) } : {});
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length <= indent.length) items.push({ text: [item[3]], below: [] });
    else if (item || items.at(-1).below.length) items.at(-1).below.push(line);
    else items.at(-1).text.push(line.trim());
  }
  const nested = (below) => (below.length && ITEM.test(below[0]) ? list(below) : null);
  node.append(...items.map(({ text, below }) => h("li", {}, inline(text.join("\n")), nested(below))));
  return node;
}

const INLINE = [
  [/^(`+)([^]*?[^`])\1(?!`)/, (m) => h("code", {}, m[2].replace(/\n/g, " "))],
  [/^\*\*(?=\S)([^]+?\S)\*\*/, (m) => h("strong", {}, inline(m[1]))],
  [/^__(?=\S)([^]+?\S)__(?!\w)/, (m) => h("strong", {}, inline(m[1]))],
  [/^\*(?=[^\s*])([^*]*[^\s*])\*/, (m) => h("em", {}, inline(m[1]))],
  [/^_(?=[^\s_])([^_]*[^\s_])_(?!\w)/, (m) => h("em", {}, inline(m[1]))],
  [/^~~(?=\S)([^]+?\S)~~/, (m) => h("s", {}, inline(m[1]))],
  [/^\[([^\]\n]+)\]\((\S+?)(?:\s+"[^"]*")?\)/, (m) => link(m[2], inline(m[1]))],
  [/^<(https?:\/\/[^\s<>]+)>/, (m) => link(m[1], [m[1]])],
  [/^https?:\/\/[^\s<>()]*[^\s<>().,;:!?'"]/, (m) => link(m[0], [m[0]])],
  [/^\\([\\`*_{}[\]()#+.!~|>-])/, (m) => m[1]],
];

/** Inline marks: code, emphasis, links. What is no mark stays text. */
function inline(text) {
  const found = [];
  let plain = "";
  for (let at = 0; at < text.length; ) {
    const next = markAt(text, at);
    if (next) {
      if (plain) found.push(plain);
      plain = "";
      found.push(next.node);
    } else plain += text[at];
    at += next ? next.length : 1;
  }
  if (plain) found.push(plain);
  return found;
}

function markAt(text, at) {
  if (!"`*_~[<h\\".includes(text[at])) return null;
  const inWord = at > 0 && /\w/.test(text[at - 1]);
  if (inWord && "_h".includes(text[at])) return null;
  const rest = text.slice(at, at + 4000);
  for (const [pattern, make] of INLINE) {
    const match = pattern.exec(rest);
    const node = match && make(match);
    if (node) return { node, length: match[0].length };
  }
  return null;
}

/** A link, where its address is one that can do no harm; else null. */
export function link(address, children) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  if (!["http:", "https:", "mailto:"].includes(url.protocol)) return null;
  return h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, children);
}

/** Shows a text that grows: only blocks that changed are drawn anew. */
export class Prose {
  constructor() {
    this.node = h("div.prose");
    this.drawn = [];
  }

  update(text) {
    const found = blocks(text);
    const keys = found.map((block) => JSON.stringify({ ...block, end: 0 }));
    let same = 0;
    while (same < keys.length && keys[same] === this.drawn[same]) same += 1;
    const kept = [...this.node.children].slice(0, same);
    fill(this.node, kept, found.slice(same).map(element));
    this.drawn = keys;
  }
}
