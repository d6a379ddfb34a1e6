// Tools that ran on the server, as they look in a reply: what was called, and below it, folded, what came of it.

import { fill, h } from "../base/dom.js";
import { code, link } from "../base/markdown.js";

/** Whether a block is the result of a tool that ran on the server. */
export const isResult = ({ type }) => type.endsWith("_tool_result");

/** The view of such a result: `{node, update(block)}`. */
export function ranView() {
  const about = h("summary");
  const inside = h("div.came");
  const node = h("details.ran", {}, about, inside);
  const update = (block) => {
    const { sentence, failed, found } = told(block);
    node.setAttribute("aria-label", `Result of a tool: ${sentence}`);
    node.classList.toggle("failed", Boolean(failed));
    fill(about, sentence);
    fill(inside, found);
  };
  return { node, update };
}

/** What a result says in a sentence, whether it failed, and what is in it. */
function told({ type, content, is_error: failed }) {
  if (content?.error_code) return { sentence: `It failed: ${content.error_code.replaceAll("_", " ")}`, failed: true, found: raw(content) };
  if (type === "web_search_tool_result" && Array.isArray(content)) {
    return { sentence: counted(content.length, "result"), found: h("ol", {}, content.map(page)) };
  }
  if (type === "web_fetch_tool_result") return { sentence: `Fetched ${content.url}`, found: [page(content), text(content.content?.source?.data)] };
  if (type === "tool_search_tool_result") {
    const names = (content?.tool_references ?? []).map((each) => each.tool_name);
    return { sentence: `${counted(names.length, "tool")} found`, found: h("ul", {}, names.map((name) => h("li", {}, h("code", {}, name)))) };
  }
  if (typeof content?.return_code === "number") return run(content);
  if (Array.isArray(content)) {
    return { sentence: failed ? "It failed" : counted(content.length, "block"), failed, found: content.map((each) => (each.type === "text" ? text(each.text) : raw(each))) };
  }
  return { sentence: failed ? "It failed" : "Result", failed, found: typeof content === "string" ? text(content) : raw(content) };
}

/** What came of code: what it printed, what it complained of, and how it ended. */
function run({ stdout, stderr, return_code: status }) {
  const lines = (stdout ?? "").split("\n").filter(Boolean).length;
  const sentence = status ? `Ended with ${status}` : `Ran, ${counted(lines, "line")} printed`;
  return { sentence, failed: status !== 0, found: [stdout && code(stdout, "output"), stderr && code(stderr, "errors")] };
}

const counted = (many, what) => `${many} ${what}${many === 1 ? "" : "s"}`;
const text = (value) => value && h("p.said", {}, value);
const raw = (value) => code(JSON.stringify(value ?? null, null, 2), "json");

function page({ url, title, page_age: age }) {
  return h("li", {}, link(url, [title || url]) ?? title ?? url, age ? h("span.hint", {}, ` ${age}`) : null);
}

/** Where the words of a cited text come from: `{node, update(block)}`. */
export function citedView() {
  const node = h("ol.cited", { "aria-label": "Sources", hidden: true });
  const update = ({ citations = [] }) => {
    const sources = new Map(citations.map((each) => [each.url ?? each.source ?? each.document_title ?? each.title, each]));
    node.hidden = !sources.size;
    fill(node, [...sources].map(([name, each]) => h("li", { title: each.cited_text ?? "" },
      (each.url && link(each.url, [each.title || each.url])) || h("span", {}, each.document_title ?? each.title ?? name ?? "Document"))));
  };
  return { node, update };
}
