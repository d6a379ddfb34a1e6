// Elements from plain calls. Text becomes text nodes; there is no way to pass markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("button.icon", {onclick, "aria-label": "…"}, child, …)`. Null and false children are left out. */
export function h(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name || "div");
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) set(node, key, value);
  node.append(...children.flat(Infinity).filter(shown));
  return node;
}

function set(node, key, value) {
  if (value === undefined || value === null || value === false) return;
  if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
  else if (key === "dataset") Object.assign(node.dataset, value);
  else if (key === "value" || key === "checked" || key === "open") node[key] = value;
  else node.setAttribute(key, value === true ? "" : value);
}

const shown = (child) => child !== null && child !== undefined && child !== false;

/** Put these children in place of those that are there. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter(shown));
  return node;
}

/** An SVG element with these attributes. */
export function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const SHAPES = {
  mark: "M13 6a12 12 0 0 0 0 20M19 26a12 12 0 0 0 0-20M16 12v8",
  attach: "M21 11.5 12.2 20a5.5 5.5 0 0 1-7.8-7.8l9-8.7a3.7 3.7 0 0 1 5.2 5.2l-8.9 8.6a1.8 1.8 0 0 1-2.6-2.6l8-7.7",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  edit: "m4 20 1-4L16.5 4.5a2.1 2.1 0 0 1 3 3L8 19l-4 1zM14 7l3 3",
  copy: "M9 9h10v11H9zM15 9V5H5v10h4",
  retry: "M4 12a8 8 0 0 1 14-5.3L20 9M20 4v5h-5M20 12a8 8 0 0 1-14 5.3L4 15M4 20v-5h5",
  remove: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  close: "m6 6 12 12M18 6 6 18",
  add: "M12 5v14M5 12h14",
  before: "m14 6-6 6 6 6",
  after: "m10 6 6 6-6 6",
  list: "M4 6h16M4 12h16M4 18h10",
  refresh: "M20 11a8 8 0 1 0-1.5 6M20 5v6h-6",
};

/** A line drawing of 1.25 rem; it says nothing to a screen reader. */
export function icon(name, size = 20) {
  const box = name === "mark" ? 32 : 24;
  return svg(
    "svg",
    { viewBox: `0 0 ${box} ${box}`, width: size, height: size, "aria-hidden": "true" },
    svg("path", {
      d: SHAPES[name],
      fill: name === "stop" ? "currentColor" : "none",
      stroke: "currentColor",
      "stroke-width": name === "mark" ? 3 : name === "more" ? 2.6 : 1.7,
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
    }),
  );
}

/** A button that shows only a drawing, with its name for those who do not see it. */
export function iconButton(name, label, onclick, more = {}) {
  return h("button.icon", { type: "button", "aria-label": label, title: label, onclick, ...more }, icon(name));
}

/** A labelled field: the label above its control. */
export function field(label, control, ...more) {
  control.id ||= `field-${++fields}`;
  return h("div.field", {}, h("label", { for: control.id }, label), control, ...more);
}

let fields = 0;

/** A choice: `options` are pairs of value and text. */
export function choice(options, value, onchange, more = {}) {
  const select = h("select", { onchange: () => onchange(select.value), ...more });
  offer(select, options, value);
  return select;
}

/** Put these options into a select. */
export function offer(select, options, value) {
  fill(select, options.map(([key, text]) => h("option", { value: key }, text)));
  select.value = value;
}

/** Tell a screen reader. */
export function announce(sentence) {
  document.getElementById("announcer").textContent = sentence;
}

let timer = 0;

/** Show a sentence for a moment. */
export function toast(sentence) {
  document.querySelector(".toast")?.remove();
  clearTimeout(timer);
  const node = h("div.toast", {}, sentence);
  document.body.append(node);
  announce(sentence);
  timer = setTimeout(() => node.remove(), 2200);
}

/** Copy a text, and say so. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    toast("The browser did not allow copying; mark the text and copy it by hand");
  }
}

/** Let the browser save a text as a file. */
export function save(text, type, name) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
