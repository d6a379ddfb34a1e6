// What the server does now, from /metrics; and what it serves.

import { fill, h, svg } from "../base/dom.js";
import { json, text } from "../base/api.js";
import { between, read, reading } from "./metrics.js";
import { on, state } from "../conversation/store.js";

const EVERY = 2000;
const KEPT = 90;
const SPAN = 5;
const count = new Intl.NumberFormat("en");

/** The panel; it reads the metrics as long as it is seen. */
export class Live {
  constructor() {
    this.readings = [];
    this.gauges = {
      running: new Gauge("Running", "requests"),
      waiting: new Gauge("In the queue", "requests"),
      unread: new Gauge("Prompts still to read", "tokens"),
      reading: new Gauge("Prompts computed", "tokens/s"),
      pace: new Gauge("Written", "tokens/s"),
      hits: new Gauge("Read from cache", "", 1),
    };
    this.trouble = h("p.trouble", { hidden: true, role: "alert" });
    this.total = h("p.hint");
    this.models = h("div.group");
    this.node = h("div.inside", {}, h("div.title", {}, h("h2", {}, "Live")), this.trouble,
      h("div.gauges", {}, Object.values(this.gauges).map((gauge) => gauge.node)), this.total,
      h("section.group", {}, h("h3", {}, "Models served here"), this.models));
    on("models", () => this.serve());
    document.addEventListener("visibilitychange", () => this.start());
  }

  /** Begin to read, if the panel is seen. */
  start() {
    clearTimeout(this.timer);
    if (this.node.isConnected && !document.hidden) this.tick();
  }

  async tick() {
    try {
      this.take(reading(read(await text("metrics")), performance.now()));
      this.trouble.hidden = true;
    } catch (failure) {
      this.trouble.hidden = false;
      fill(this.trouble, failure.status === 404 ? "This server keeps no metrics." : failure.message);
    }
    if (!this.known || this.onDemand) this.serve();
    clearTimeout(this.timer);
    if (this.node.isConnected && !document.hidden) this.timer = setTimeout(() => this.tick(), EVERY);
  }

  take(now) {
    this.readings = [...this.readings, now].slice(-KEPT - SPAN);
    const recent = this.readings.map((each, at) => ({ ...each, ...between(this.readings[Math.max(at - SPAN, 0)], each) }));
    // Where nothing was read for a while, the share of all that was read stands for it.
    for (const each of recent) each.hits ??= each.cached + each.fresh ? each.cached / (each.cached + each.fresh) : null;
    const shown = recent.slice(-KEPT);
    const last = shown.at(-1);
    this.gauges.running.show(shown.map((each) => each.running), count.format(last.running));
    this.gauges.waiting.show(shown.map((each) => each.waiting), count.format(last.waiting));
    this.gauges.unread.show(shown.map((each) => each.unread), count.format(last.unread));
    this.gauges.reading.show(shown.map((each) => each.reading), count.format(Math.round(last.reading)));
    this.gauges.pace.show(shown.map((each) => each.pace), last.pace.toFixed(last.pace && last.pace < 10 ? 1 : 0));
    this.gauges.hits.show(shown.map((each) => each.hits ?? 0), last.hits === null ? "–" : `${Math.round(100 * last.hits)} %`);
    const prompts = last.cached + last.fresh;
    fill(this.total, `Since the start: ${count.format(last.requests)} requests, ${count.format(prompts)} tokens read, ${count.format(last.written)} written.`);
  }

  async serve() {
    if (!this.node.isConnected) return;
    this.known = true;
    const [health, ready] = await Promise.all([
      json("health", { quiet: true }).catch(() => ({ models: [] })),
      json("health/ready", { quiet: true }).then(() => "", (failure) => failure.message),
    ]);
    this.onDemand = health.models.some((one) => one.state);
    fill(this.models, state.models.map((model) => card(model, health.models.find((one) => one.name === model.id), ready)));
  }
}

function card(model, parsers, unready) {
  // The server names the first model that is not ready; a trouble of no model is everybody's.
  const others = unready && state.models.some((one) => one !== model && unready.startsWith(`${one.id} `));
  const trouble = others ? "" : unready;
  const can = model.capabilities ?? {};
  const yes = (capability) => (can[capability]?.supported ? "yes" : "no");
  const facts = [
    ["Window", `${count.format(model.max_input_tokens)} tokens`],
    ["Longest reply", `${count.format(model.max_tokens)} tokens`],
    ["Pictures", yes("image_input")],
    ["Thinking", yes("thinking")],
    ["Structured output", yes("structured_outputs")],
    ["Tool calls", parsers?.parsers ?? ""],
  ].filter(([, value]) => value);
  return h("article.card", {}, h("h4", {}, model.id),
    h(`p.state${trouble ? ".down" : ""}`, {}, trouble || parsers?.state || "ready"),
    h("dl.facts", {}, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

class Gauge {
  constructor(title, unit, top = 0) {
    this.unit = unit;
    this.top = top;
    this.value = h("strong", {}, "–");
    this.chart = svg("svg", { class: "chart", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img" });
    this.title = title;
    this.node = h("section.gauge", {}, h("h3", {}, title), this.value, this.chart);
  }

  show(values, told) {
    fill(this.value, told, " ", h("small", {}, this.unit));
    this.chart.setAttribute("aria-label", `${this.title} over the last minutes, now ${told} ${this.unit}`);
    const top = this.top || Math.max(1, ...values);
    const step = 100 / (KEPT - 1);
    const from = 100 - step * (values.length - 1);
    const points = values.map((value, at) => `${(from + step * at).toFixed(2)},${(29 - (27 * value) / top).toFixed(2)}`);
    fill(this.chart,
      svg("polygon", { class: "area", points: `${from.toFixed(2)},30 ${points.join(" ")} 100,30` }),
      svg("line", { class: "floor", x1: 0, x2: 100, y1: 29.5, y2: 29.5 }),
      svg("polyline", { class: "curve", points: points.join(" ") }));
  }
}
