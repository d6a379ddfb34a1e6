// Which page is shown: the conversation, or the one that the address names behind its #.

import { fill, h } from "./dom.js";

const pages = new Map();
const links = new Map();
const at = (id) => document.getElementById(id);

/** A page beside the conversation: its node, and what is called whenever it is shown. */
export function addPage(name, title, node, shown) {
  pages.set(name, { title, node, shown });
}

/** The links to the pages, the conversation first. */
export function pageLinks() {
  const link = (name, title) => {
    links.set(name, h("a", { href: `#${name}` }, title));
    return links.get(name);
  };
  return h("nav.tabs", { "aria-label": "Pages" }, link("", "Chat"), [...pages].map(([name, { title }]) => link(name, title)));
}

/** The name of the page that is shown; empty for the conversation. */
export const shownPage = () => (pages.has(location.hash.slice(1)) ? location.hash.slice(1) : "");

/** Show a page; the conversation without a name. */
export function goTo(name = "") {
  if (shownPage() !== name) location.hash = name;
  draw();
}

/** Show what the address names, now and whenever it changes. */
export function followAddress() {
  addEventListener("hashchange", draw);
  draw();
}

let drawn = "";

function draw() {
  const name = shownPage();
  for (const [each, link] of links) {
    if (each === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (name === drawn) return;
  drawn = name;
  const page = pages.get(name);
  document.title = page ? `${page.title} · Antiphon` : "Antiphon";
  document.body.classList.toggle("paged", Boolean(page));
  at("stage").hidden = Boolean(page);
  at("page").hidden = !page;
  fill(at("page"), page?.node);
  if (!page) return at("composer-text").focus();
  at("page").scrollTop = 0;
  page.node.querySelector("h1").focus();
  page.shown();
}
