// Plots from plain elements. What is drawn is hidden from screen readers; a table beside it says the same.

import { h } from "../base/dom.js";

const count = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const narrow = matchMedia("(max-width: 40rem)");

/** A number in full, and in few letters. */
export const full = (value) => count.format(Math.round(value * 10) / 10);
export const short = (value) => compact.format(value);

export const total = (row, series) => series.reduce((sum, { name }) => sum + row[name], 0);

/** What each colour stands for. */
export function legend(series) {
  return h("ul.legend", {}, series.map(({ title }, place) => h("li", {}, h(`i.series-${place}`, { "aria-hidden": "true" }), title)));
}

/**
 * Stacked columns over time. `rows` are `{label, long, …figures}` in their order, `series` are `{name, title}` of the
 * figures that are stacked.
 */
export function columns(rows, series) {
  const top = ceiling(Math.max(...rows.map((row) => total(row, series))));
  const every = Math.ceil(rows.length / (narrow.matches ? 4 : 8));
  const ticks = [1, 0.5, 0].map((share) => tick(share, short(share * top)));
  const bars = rows.map((row) => h("div.column", { title: told(row, series) }, parts(row, series, top, "height")));
  const labels = rows.map((row, place) => h("span", {}, place % every ? "" : h("b", {}, row.label)));
  return h("div.columns", { "aria-hidden": "true" }, h("div.ticks", {}, ticks), h("div.bars", {}, bars), h("div.labels", {}, labels));
}

/** One stacked bar; `top` is what fills it. */
export function bar(row, series, top) {
  return h("div.bar", { "aria-hidden": "true", title: told(row, series) }, parts(row, series, top, "width"));
}

/** How much of something is used up. */
export function meter(used, most) {
  const share = most ? Math.min(used / most, 1) : 0;
  const filled = h(share >= 1 ? "i.spent" : "i", {});
  filled.style.width = `${100 * share}%`;
  return h("div.used", { "aria-hidden": "true" }, filled);
}

function parts(row, series, top, side) {
  return series.map(({ name }, place) => {
    if (!row[name]) return null;
    const part = h(`i.series-${place}`);
    part.style[side] = `${(100 * row[name]) / top}%`;
    return part;
  });
}

function tick(share, text) {
  const node = h("span", {}, text);
  node.style.bottom = `${100 * share}%`;
  return node;
}

const told = (row, series) => [row.long, ...series.map(({ name, title }) => `${title}: ${full(row[name])}`)].join("\n");

/** The next round number that is not below this one. */
function ceiling(value) {
  if (value <= 0) return 1;
  const scale = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * scale).find((round) => round >= value);
}

/** A table: `heads` are `{title, number?}`, `rows` lists of cells, of which the first names the row. */
export function table(caption, heads, rows) {
  const cell = (content, place) => h(place ? "td" : "th", { ...(place ? {} : { scope: "row" }), class: heads[place].number ? "number" : null }, content);
  return h("div.scroll", { tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("caption.unseen", {}, caption),
      h("thead", {}, h("tr", {}, heads.map(({ title, number }) => h("th", { scope: "col", class: number ? "number" : null }, title)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell))))));
}
