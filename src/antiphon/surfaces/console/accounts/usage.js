// The usage page: what was used by day, model and key, as plots and as tables.

import { json } from "../base/api.js";
import { bar, columns, full, legend, short, table, total } from "./charts.js";
import { announce, choice, fill, h, offer, save } from "../base/dom.js";
import { PERIODS, spanOf, steps } from "./periods.js";

const MEASURES = {
  tokens: { title: "Tokens", series: [
    { name: "input_tokens", title: "New input" },
    { name: "cache_creation_input_tokens", title: "Written to cache" },
    { name: "cache_read_input_tokens", title: "From cache" },
    { name: "output_tokens", title: "Output" },
  ] },
  requests: { title: "Requests", series: [{ name: "requests", title: "Complete" }, { name: "broken_requests", title: "Broken off" }] },
  tools: { title: "Tool calls", series: [
    { name: "web_searches", title: "Searches" },
    { name: "web_fetches", title: "Fetches" },
    { name: "other_tools", title: "Others" },
  ] },
  time: { title: "Time", series: [{ name: "seconds", title: "Seconds" }] },
};
const FIGURES = [
  ["requests", "Requests"], ["broken_requests", "Broken off"], ["input_tokens", "New input"],
  ["cache_creation_input_tokens", "Written to cache"], ["cache_read_input_tokens", "From cache"],
  ["output_tokens", "Output"], ["tool_calls", "Tool calls"], ["seconds", "Seconds"],
];
const FIRST = 12;

/** The page. */
export class UsagePage {
  constructor() {
    this.asked = 0;
    const select = (label, options, value) => choice(options, value, () => this.refresh(), { "aria-label": label });
    this.period = select("Period", PERIODS, "30");
    this.model = select("Model", [["", "All models"]], "");
    this.key = select("Key", [["", "All keys"]], "");
    this.measure = choice(Object.entries(MEASURES).map(([name, { title }]) => [name, title]), "tokens", () => this.draw(), { "aria-label": "What is drawn" });
    this.trouble = h("p.trouble", { hidden: true, role: "alert" });
    this.whose = h("p.hint");
    this.sums = h("dl.sums");
    this.shown = h("div.plots");
    this.node = h("div.paper", {},
      h("header", {}, h("h1", { tabindex: -1 }, "Usage"), h("button.outlined", { type: "button", onclick: () => this.save() }, "Download CSV")),
      h("div.choices", { role: "group", "aria-label": "What is shown" }, this.period, this.model, this.key, this.measure),
      this.trouble, this.whose, this.sums, this.shown);
  }

  async refresh() {
    const asked = (this.asked += 1);
    this.span = spanOf(this.period.value, new Date());
    const [model, key] = [this.model.value, this.key.value];
    try {
      // Each choice shows all that the other one leaves.
      const [times, models, keys, me] = await Promise.all([
        this.ask(this.span.by, { model, key }), this.ask("model", { key }), this.ask("key", { model }), json("v1/keys/me"),
      ]);
      if (asked !== this.asked) return;
      Object.assign(this, { times, models, keys, me });
      this.trouble.hidden = true;
      this.draw();
      announce(`${full(this.sum("requests"))} requests`);
    } catch (failure) {
      if (asked !== this.asked) return;
      this.trouble.hidden = false;
      fill(this.trouble, failure.message);
      fill(this.shown);
      fill(this.sums);
    }
  }

  async ask(by, only) {
    const query = new URLSearchParams({ starting_at: this.span.from.toISOString(), ending_at: this.span.to.toISOString(), by });
    for (const [name, value] of Object.entries(only)) if (value) query.set(name, value);
    const rows = (await json(`v1/usage?${query}`)).data;
    return rows.map((row) => ({ ...row, other_tools: row.tool_calls - row.web_searches - row.web_fetches }));
  }

  sum(name) {
    return this.times.reduce((sum, row) => sum + row[name], 0);
  }

  draw() {
    offer(this.model, [["", "All models"], ...this.models.map((row) => [row.model, row.model])], this.model.value);
    offer(this.key, [["", "All keys"], ...this.keys.map((row) => [row.key, nameOf(row)]).filter(([label]) => label)], this.key.value);
    this.key.hidden = !this.me.sees_all_usage;
    fill(this.whose, this.me.sees_all_usage ? "Of everybody on this server. Days are those of UTC." : "Of your key alone. Days are those of UTC.");
    const figure = (name, title) => h("div", {}, h("dt", {}, title), h("dd", { title: full(this.sum(name)) }, short(this.sum(name))));
    fill(this.sums, figure("requests", "Requests"), figure("input_tokens", "New input"), figure("cache_read_input_tokens", "From cache"),
      figure("output_tokens", "Output"), figure("tool_calls", "Tool calls"), figure("seconds", "Seconds"));
    const { title, series } = MEASURES[this.measure.value];
    const { model, key } = { model: this.model.value, key: this.key.value };
    fill(this.shown, this.overTime(title, series),
      breakdown("By model", "Model", this.models.filter((row) => !model || row.model === model), (row) => row.model, series),
      this.me.sees_all_usage && breakdown("By key", "Key", this.keys.filter((row) => !key || row.key === key), nameOf, series));
  }

  overTime(title, series) {
    const what = `${title} by ${this.span.by}`;
    if (!this.times.length) return h("section.plot", {}, h("h2", {}, what), h("p.hint", {}, "Nothing was used in this time."));
    const rows = steps(this.span, this.times, FIGURES.map(([name]) => name).concat("web_searches", "web_fetches", "other_tools"));
    const heads = [{ title: this.span.by === "day" ? "Day" : "Hour" }, ...FIGURES.map(([, title]) => ({ title, number: true }))];
    const lines = rows.filter((row) => row.used).map((row) => [row.long, ...FIGURES.map(([name]) => full(row[name]))]);
    return h("section.plot", {}, h("header", {}, h("h2", {}, what), legend(series)), columns(rows, series),
      h("details", {}, h("summary", {}, "As a table"), table(what, heads, lines.reverse())));
  }

  async save() {
    try {
      const rows = await this.ask(`${this.span.by},key,model,tier`, { model: this.model.value, key: this.key.value });
      const names = Object.keys(rows[0] ?? {}).filter((name) => name !== "other_tools");
      const lines = [names, ...rows.map((row) => names.map((name) => row[name]))].map((line) => line.map(quoted).join(","));
      save(`${lines.join("\n")}\n`, "text/csv", `usage-${this.span.from.toISOString().slice(0, 10)}.csv`);
    } catch (failure) {
      this.trouble.hidden = false;
      fill(this.trouble, failure.message);
    }
  }
}

const nameOf = (row) => row.name || row.key || "No key";

const quoted = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);

/** A table of what each of these used, with a bar for each; the ones that used most come first. */
function breakdown(title, head, rows, name, series) {
  if (!rows.length) return null;
  const sorted = [...rows].sort((one, other) => total(other, series) - total(one, series));
  const top = Math.max(total(sorted[0], series), 1);
  const heads = [{ title: head }, { title: h("span.unseen", {}, "Drawn") }, ...FIGURES.map(([, text]) => ({ title: text, number: true }))];
  const line = (row) => [name(row), bar({ ...row, long: name(row) }, series, top), ...FIGURES.map(([figure]) => full(row[figure]))];
  const place = h("div", {}, table(title, heads, sorted.slice(0, FIRST).map(line)));
  const more = sorted.length > FIRST && h("button.quiet", { type: "button", onclick: () => {
    fill(place, table(title, heads, sorted.map(line)));
    place.firstChild.focus();
  } }, `Show all ${full(sorted.length)}`);
  return h("section.plot", {}, h("h2", {}, title), place, more);
}
