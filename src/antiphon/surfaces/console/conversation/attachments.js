// Pictures and documents: dropped, pasted or chosen, and made into content blocks.

import { fill, h, iconButton, toast } from "../base/dom.js";
import { source } from "../reply/blocks.js";
import { changed, on, state } from "./store.js";

const PICTURES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const TEXTS = /^text\/|\/(json|xml|yaml|x-yaml|toml|javascript|x-sh|sql|csv)$/;
const NAMED = /\.(txt|md|markdown|json|jsonl|csv|tsv|xml|ya?ml|toml|ini|log|py|js|ts|tsx|jsx|go|rs|c|h|cc|cpp|java|rb|sh|sql|html|css|tex|org|rst)$/i;
const MOST = 20 * 1024 * 1024;

/** What the file chooser offers. */
export const ACCEPTED = [...PICTURES, "application/pdf", "text/*", ".md", ".json", ".csv", ".py", ".js", ".ts"].join(",");

/** Attach files to the next message; those that cannot be are told of. */
export async function attach(files) {
  for (const file of files) {
    try {
      state.attached.push({ name: file.name || "pasted picture", block: await blockOf(file) });
    } catch (trouble) {
      toast(trouble.message);
    }
  }
  changed("attached");
}

async function blockOf(file) {
  if (file.size > MOST) throw new Error(`${file.name} is larger than 20 MB`);
  if (PICTURES.includes(file.type)) {
    return { type: "image", source: { type: "base64", media_type: file.type, data: await base64(file) } };
  }
  if (file.type === "application/pdf") {
    const data = await base64(file);
    return { type: "document", title: file.name, source: { type: "base64", media_type: "application/pdf", data } };
  }
  if (TEXTS.test(file.type) || NAMED.test(file.name)) {
    return { type: "document", title: file.name, source: { type: "text", media_type: "text/plain", data: await file.text() } };
  }
  throw new Error(`${file.name}: pictures, PDF and text files can be attached, this is ${file.type || "something else"}`);
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error(`${file.name} could not be read`));
    reader.readAsDataURL(file);
  });
}

/** The list of what is attached, with a way to take each away. */
export function attachedList() {
  const node = h("ul.attached", { "aria-label": "Attached", hidden: true });
  const note = h("p.note", { hidden: true });
  const draw = () => {
    node.hidden = !state.attached.length;
    fill(node, state.attached.map((each) => h("li.chip", {},
      each.block.type === "image" ? h("img", { src: source(each.block), alt: "" }) : null,
      h("span.label", {}, each.name), iconButton("close", `Remove ${each.name}`, () => drop(each)))));
    const model = state.models.find((one) => one.id === state.settings.model);
    const blind = model && !model.capabilities?.image_input?.supported;
    note.hidden = !(blind && state.attached.some((each) => each.block.type === "image"));
    fill(note, `${state.settings.model} cannot see pictures.`);
  };
  on("attached settings models", draw);
  return [node, note];
}

function drop(each) {
  state.attached = state.attached.filter((one) => one !== each);
  changed("attached");
}

/** Take files that are dropped anywhere on the page or pasted into it. */
export function takeFiles() {
  let depth = 0;
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  const over = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragenter", (event) => carries(event) && over((depth += 1) > 0));
  addEventListener("dragleave", (event) => carries(event) && over((depth -= 1) > 0));
  addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    over((depth = 0) > 0);
    attach([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    attach(files);
  });
}
