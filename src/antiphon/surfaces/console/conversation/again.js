// Asking again with other settings than those of the conversation, for one reply.

import { dialog } from "../base/dialogs.js";
import { choice, field, h } from "../base/dom.js";
import { retry } from "./conversation.js";
import { THINKING } from "./settings.js";
import { state } from "./store.js";

/** Ask for other settings, then for another version of a reply. */
export function askAgain(turn, attempt) {
  const { settings, models } = state;
  const used = turn.reply.body ?? turn.reply.parameters ?? {};
  const model = choice(models.map(({ id }) => [id, id]), settings.model, () => {});
  const thinking = choice(THINKING, settings.thinking, () => {});
  const number = (value) => h("input", { type: "text", inputmode: "decimal", autocomplete: "off", value: String(value ?? "") });
  const temperature = number(used.temperature ?? settings.temperature);
  const most = number(used.max_tokens ?? settings.maxTokens);
  const form = h("form", { method: "dialog", class: "body" },
    field("Model", model), h("div.pair", {}, field("Temperature", temperature), field("Most tokens", most)), field("Thinking", thinking),
    h("p.hint", {}, "For this reply alone. What it says now stays, as another version."),
    h("div.row", {}, h("button.outlined", { type: "button", onclick: () => node.close() }, "Cancel"),
      h("button.primary", { type: "submit" }, "Ask again")));
  const node = dialog("Ask again with", form);
  node.classList.add("narrow");
  form.addEventListener("submit", () => attempt(() => retry(turn, {
    model: model.value, temperature: temperature.value, maxTokens: most.value, thinking: thinking.value,
  })));
  model.focus();
}
