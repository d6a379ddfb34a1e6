// Long outputs, folded to their first lines.

import { h } from "./dom.js";

const MOST = 14;

/** Shows all of a `pre` only when it is asked to, where it is long: `{node, measure(text)}`; `measure` is told its text. */
export function folded(pre) {
  let open = false;
  const button = h("button.quiet", { type: "button", hidden: true, onclick: () => {
    open = !open;
    draw();
  } });
  let lines = 0;
  const draw = () => {
    button.hidden = lines <= MOST;
    button.textContent = open ? "Show less" : `Show all ${lines} lines`;
    button.setAttribute("aria-expanded", String(open));
    pre.classList.toggle("folded", lines > MOST && !open);
  };
  const measure = (text) => {
    lines = text.split("\n").length;
    draw();
  };
  return { node: h("div.fold", {}, pre, button), measure };
}
