// The dialogs about a key: what it may do, its secret, and how long the old secret goes on working.

import { dialog } from "../base/dialogs.js";
import { choice, copy, field, fill, h } from "../base/dom.js";

const SCALES = { "": 1, k: 1e3, M: 1e6, G: 1e9 };
const LIMITS = [["requests", "Requests a minute"], ["input_tokens", "Input tokens a minute"], ["output_tokens", "Output tokens a minute"], ["tool_calls", "Tool calls a minute"]];
const OVERLAPS = [["0", "not at all"], ["3600", "for an hour"], ["43200", "for 12 hours"], ["604800", "for 7 days"]];

class Wrong extends Error {
  constructor(input, message) {
    super(message);
    this.input = input;
  }
}

/** Ask what a key may do; `known` are its rights now. `send` is given them as the API has them. */
export function askForKeyRights(title, known, send) {
  const name = h("input", { type: "text", value: known.name ?? "", required: true, maxlength: 200, autocomplete: "off" });
  const models = h("input", { type: "text", value: (known.models ?? []).join(", "), placeholder: "all", autocomplete: "off", spellcheck: "false" });
  const number = (value, placeholder) => h("input", { type: "text", value: value ? String(value) : "", placeholder, inputmode: "text", autocomplete: "off" });
  const limits = LIMITS.map(([limit, label]) => [limit, label, number(known.limits?.[limit], "the server's")]);
  const budget = number(known.budget, "any number");
  const expires = h("input", { type: "date", value: known.expires_at?.slice(0, 10) ?? "" });
  const admin = h("input", { type: "checkbox", checked: known.admin ?? false });
  const read = () => ({
    name: name.value.trim(),
    models: models.value.split(",").map((each) => each.trim()).filter(Boolean),
    limits: Object.fromEntries(limits.map(([limit, , input]) => [limit, quantity(input)])),
    budget: quantity(budget),
    expires_at: expiry(expires.value, known.expires_at),
    admin: admin.checked,
  });
  form(title, known.label ? "Save" : "Add", async () => send(read()),
    field("Name", name), field("Models: names or patterns, commas between", models),
    h("div.pair", {}, limits.map(([, label, input]) => field(label, input))),
    h("div.pair", {}, field("Tokens a month", budget), field("Expires on (UTC)", expires)),
    h("label.check", {}, admin, "Admin: sees everybody's usage and may change keys"));
}

/** A day that was not changed keeps its hour. */
const expiry = (chosen, known) => (!chosen ? null : chosen === known?.slice(0, 10) ? known : `${chosen}T00:00:00Z`);

/** Ask how long the old secret goes on working. `send` is given seconds. */
export function askForOverlap(key, send) {
  const overlap = choice(OVERLAPS, "0", () => {});
  form(`Exchange the secret of ${key.name}?`, "Exchange", () => send(Number(overlap.value)),
    h("p", {}, "It gets a new one, with the same rights, files and budget."), field("The old secret goes on working for", overlap));
}

/** Show a secret: the only time that it is seen. */
export function showSecret(key, secret) {
  const shown = h("input.mono", { type: "text", value: secret, readonly: true, onfocus: () => shown.select() });
  const node = dialog(`The key of ${key.name}`, h("p", {}, "It is shown now and never again: only a hash of it is kept."),
    field("The key", shown), h("div.row", {}, h("button.primary", { type: "button", onclick: () => copy(secret, "Key") }, "Copy")));
  node.classList.add("narrow");
  shown.focus();
}

function form(title, act, send, ...fields) {
  const trouble = h("p.trouble", { role: "alert", hidden: true });
  const submit = h("button.primary", { type: "submit" }, act);
  const body = h("form.body", { novalidate: true }, fields, trouble,
    h("div.row", {}, h("button.outlined", { type: "button", onclick: () => node.close() }, "Cancel"), submit));
  const node = dialog(title, body);
  node.classList.add("narrow");
  body.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    for (const input of body.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    try {
      await send();
      node.close();
    } catch (failure) {
      trouble.hidden = false;
      fill(trouble, failure.message);
      failure.input?.setAttribute("aria-invalid", "true");
      failure.input?.focus();
    } finally {
      submit.disabled = false;
    }
  });
  body.querySelector("input, select").focus();
}

/** A whole number as people write it: 60, 20k, 5M; nought where nothing is written. */
function quantity(input) {
  const found = /^(\d+)\s*([kMG]?)$/.exec(input.value.replace(/[_,\s]/g, "") || "0");
  if (!found) throw new Wrong(input, `“${input.value}” is no whole number: write it as in 60, 20k or 5M`);
  return Number(found[1]) * SCALES[found[2]];
}
