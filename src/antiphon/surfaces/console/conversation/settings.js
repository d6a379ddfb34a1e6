// The settings of the next request.

import { choice, field, fill, h, iconButton, offer } from "../base/dom.js";
import { toolEditor } from "./tools.js";
import { nameOf, parameters, Unsendable } from "./request.js";
import { changed, choose, DEFAULTS, on, state } from "./store.js";

export const THINKING = [
  ["", "As the model does by itself"],
  ["disabled", "Off"],
  ["enabled", "On, within a budget"],
  ["adaptive", "As much as it takes"],
  ["between_tools", "Only between tools"],
];
const EFFORT = [["", "Not said"], ...["low", "medium", "high", "xhigh", "max"].map((each) => [each, each])];
const CHOICE = [["", "The model decides"], ["any", "It must call one"], ["tool", "It must call…"], ["none", "It must not"]];

const controls = new Map();

/** The panel of settings. */
export function settingsPanel() {
  const reset = h("button.quiet", { type: "button", onclick: () => choose({ ...DEFAULTS, model: state.settings.model }) }, "Reset");
  const node = h("div.inside", {}, h("div.title", {}, h("h2", {}, "Settings"), reset),
    group("", area("System prompt", "system", { rows: 4, placeholder: "Who the model is, and how it should answer" })),
    toolEditor(choiceOfTool()),
    group("Sampling",
      h("div.pair", {}, input("Most tokens", "maxTokens"), input("Temperature", "temperature")),
      h("div.pair", {}, input("Top p", "topP"), input("Top k", "topK")),
      area("Stop sequences, one a line", "stop", { rows: 2 })),
    thinkingGroup(),
    group("Output", select("Effort", "effort", EFFORT),
      area("JSON schema that the reply must match", "schema", { rows: 4, class: "mono", spellcheck: "false", placeholder: '{"type": "object", …}' })));
  on("settings", follow);
  follow();
  return node;
}

const group = (title, ...children) => h("fieldset.group", {}, title ? h("legend", {}, title) : h("legend.unseen", {}, "System prompt"), children);

function keepIn(setting, control, event = "input") {
  control.addEventListener(event, () => {
    state.settings[setting] = control.value;
    changed("settings");
  });
  const trouble = h("p.trouble", { hidden: true, id: `trouble-${setting}` });
  controls.set(setting, { control, trouble });
  control.setAttribute("aria-describedby", trouble.id);
  return trouble;
}

function input(label, setting) {
  const control = h("input", { type: "text", inputmode: "decimal", placeholder: setting === "maxTokens" ? "1024" : "the model's own", autocomplete: "off" });
  const trouble = keepIn(setting, control);
  return field(label, control, trouble);
}

function area(label, setting, more) {
  const control = h("textarea", more);
  const trouble = keepIn(setting, control);
  return field(label, control, trouble);
}

function select(label, setting, options) {
  const control = choice(options, state.settings[setting], () => {});
  const trouble = keepIn(setting, control, "change");
  return field(label, control, trouble);
}

function thinkingGroup() {
  const budget = input("Budget in tokens", "budget");
  on("settings", () => (budget.hidden = state.settings.thinking !== "enabled"));
  budget.hidden = state.settings.thinking !== "enabled";
  return group("Thinking", select("Mode", "thinking", THINKING), budget);
}

/** Whether and which tool must be called. */
function choiceOfTool() {
  const one = h("input", { type: "checkbox", onchange: () => choose({ oneCall: one.checked }) });
  const names = choice([], "", (toolName) => choose({ toolName }));
  const named = field("Which", names);
  const once = h("p.hint", {}, "Once it has called and you send the result, it may answer.");
  const node = h("div.group", {}, select("Use of tools", "toolChoice", CHOICE), named, once, h("label.check", {}, one, "At most one call a turn"));
  const draw = () => {
    const { tools, toolName, toolChoice, oneCall } = state.settings;
    node.hidden = !tools.length;
    named.hidden = toolChoice !== "tool";
    once.hidden = !["any", "tool"].includes(toolChoice);
    const known = tools.map(nameOf);
    offer(names, known.map((name) => [name, name]), known.includes(toolName) ? toolName : known[0]);
    one.checked = oneCall;
  };
  on("settings", draw);
  draw();
  return node;
}

/** Bring the controls up to date, and say which of them cannot be sent. */
function follow() {
  let wrong = null;
  try {
    parameters(state.settings);
  } catch (trouble) {
    if (!(trouble instanceof Unsendable)) throw trouble;
    wrong = trouble;
  }
  for (const [setting, { control, trouble }] of controls) {
    if (control.value !== state.settings[setting]) control.value = state.settings[setting];
    const bad = wrong?.setting === setting;
    control.setAttribute("aria-invalid", String(bad));
    trouble.hidden = !bad;
    fill(trouble, bad ? wrong.message : "");
  }
}
