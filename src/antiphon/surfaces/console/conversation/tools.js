// Tools: picked from the known ones, or pasted as JSON.

import { dialog, menu } from "../base/dialogs.js";
import { fill, h, icon, iconButton } from "../base/dom.js";
import { KNOWN } from "./known.js";
import { nameOf } from "./request.js";
import { choose, on, state } from "./store.js";

/** The list of tools and the ways to add some; `below` comes last. */
export function toolEditor(below) {
  const list = h("ul.toollist");
  const empty = h("p.hint", {}, "None. The model then only writes.");
  const node = h("fieldset.group", {}, h("legend", {}, "Tools"), list, empty,
    h("div.row", {},
      h("button.outlined", { type: "button", "aria-haspopup": "menu", onclick: (event) => pick(event.currentTarget) }, "Add a known tool"),
      h("button.outlined", { type: "button", onclick: () => paste() }, "Paste JSON")),
    below);
  const draw = () => {
    const { tools } = state.settings;
    empty.hidden = Boolean(tools.length);
    list.hidden = !tools.length;
    fill(list, tools.map((tool, index) => h("li", {},
      h("span.about", {}, nameOf(tool), h("span", {}, ` ${tool.description ?? tool.type ?? ""}`)),
      iconButton("edit", `Edit ${nameOf(tool)}`, () => paste(index)),
      iconButton("remove", `Remove ${nameOf(tool)}`, () => put(tools.filter((_, at) => at !== index))))));
  };
  on("settings", draw);
  draw();
  return node;
}

const put = (tools) => choose({ tools, ...(tools.length ? {} : { toolChoice: "" }) });

function pick(opener) {
  menu(opener, KNOWN.map(([label, tool]) => ({ label, run: () => put(merged([tool])) })));
}

/** The tools with these among them; of the same name the new one counts. */
function merged(more) {
  const names = more.map(nameOf);
  return [...state.settings.tools.filter((tool) => !names.includes(nameOf(tool))), ...more];
}

/** The tools that a text holds: one, a list, or a request that has some. Raises an Error that says what is wrong. */
export function toolsIn(text) {
  const value = JSON.parse(text);
  const found = Array.isArray(value) ? value : (value?.tools ?? [value]);
  if (!Array.isArray(found) || !found.length) throw new Error("There is no tool in it.");
  return found.map(plain);
}

function plain(tool) {
  if (typeof tool !== "object" || tool === null) throw new Error("A tool is an object.");
  // As other APIs write them.
  const inner = tool.function ?? tool;
  if (inner.parameters && !inner.input_schema) {
    return { name: inner.name, description: inner.description ?? "", input_schema: inner.parameters };
  }
  if (!tool.name && !tool.type) throw new Error("A tool needs a name.");
  if (!tool.input_schema && (!tool.type || tool.type === "custom")) throw new Error(`${tool.name} needs an input_schema.`);
  return tool;
}

function paste(index) {
  const before = index === undefined ? "" : JSON.stringify(state.settings.tools[index], null, 2);
  const text = h("textarea.mono", { id: "tool-json", rows: 14, value: before, spellcheck: false, placeholder: '{"name": …, "description": …, "input_schema": {…}}' });
  const trouble = h("p.trouble", { role: "alert" });
  const use = () => {
    try {
      const found = toolsIn(text.value);
      const others = state.settings.tools.filter((_, at) => at !== index);
      const names = found.map(nameOf);
      put([...others.filter((tool) => !names.includes(nameOf(tool))), ...found]);
      node.close();
    } catch (wrong) {
      fill(trouble, wrong.message);
    }
  };
  const node = dialog(index === undefined ? "Tools as JSON" : "Edit the tool",
    h("label.hint", { for: "tool-json" }, "One tool, a list of them, or a whole request. Tools as the OpenAI API writes them are understood, too."),
    text, trouble,
    h("div.row", {}, h("button.primary", { type: "button", onclick: use }, icon("add", 16), " Use")));
  node.querySelector(".primary").style.display = "inline-flex";
}
