// Keeps the conversation while it goes on, and brings an earlier one back. Which one this tab shows is noted in its session
// storage, so that a reload shows it again.

import * as archive from "./archive.js";
import { halt } from "../conversation/conversation.js";
import { toast } from "../base/dom.js";
import { end } from "../reply/reply.js";
import { choose, DEFAULTS, on, open, snapshot, state } from "../conversation/store.js";

const TAB = "antiphon.tab";

let waiting = 0;
let refused = false;

/** Keep what changes from now on; of a reply that runs, what has come every few seconds. */
export function keep() {
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(write, state.running ? 3000 : 250);
  };
  on("turns settings conversation running", soon);
  addEventListener("pagehide", () => waiting && write());
}

async function write() {
  clearTimeout(waiting);
  waiting = 0;
  const { conversation, settings, all } = state;
  sessionStorage.setItem(TAB, JSON.stringify({ id: conversation.id, settings }));
  if (!all.length) return;
  if (state.running) waiting = setTimeout(write, 3000);
  try {
    await archive.save(headOf(conversation), { id: conversation.id, ...snapshot() });
    refused = false;
  } catch {
    if (!refused) toast("This browser has no room for the conversation; it lasts as long as the page");
    refused = true;
  }
}

function headOf(conversation) {
  const text = state.all.flatMap((turn) => turn.content).map((block) => block?.text ?? "").join("\n");
  if (!conversation.named) conversation.title = titleOf(state.all);
  // Opening a conversation is no change of it.
  conversation.updated = state.all.length === conversation.length ? conversation.updated : Date.now();
  conversation.length = state.all.length;
  return { ...conversation, text };
}

/** What a conversation is called that has no name of its own: the beginning of its first words. */
function titleOf(turns) {
  const said = turns.flatMap((turn) => turn.content).find((block) => block.type === "text")?.text ?? "Without words";
  const line = said.trim().replace(/\s+/g, " ");
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}

/** Show what this tab showed before it was loaded again; else a new conversation. */
export async function restore() {
  const { id, settings } = JSON.parse(sessionStorage.getItem(TAB) ?? "{}");
  if (settings) choose({ ...DEFAULTS, ...settings });
  if (!id || !(await bring(id))) open();
}

/** Begin a new conversation, with the same settings. */
export async function begin() {
  await leave();
  open();
}

/** End what is running, and see that all of it is kept. */
async function leave() {
  await halt();
  if (waiting) await write();
}

/** Show a conversation that was kept; false where it is gone. */
export async function bring(id) {
  const found = await archive.load(id).catch(() => null);
  if (!found) return false;
  const { text, ...conversation } = found.head;
  // The page went away while these were running.
  for (const turn of found.body.turns) if (turn.reply && !turn.reply.stopReason && !turn.reply.error) end(turn);
  await leave();
  choose({ ...DEFAULTS, ...found.body.settings });
  open(conversation, found.body.turns, found.body.first);
  return true;
}

/** Give a conversation a name. */
export async function rename(id, title) {
  if (id === state.conversation.id) Object.assign(state.conversation, { title, named: true });
  await archive.rename(id, title);
}

/** Delete a conversation; one that is shown is gone from the page, too. */
export async function forget(id) {
  if (id === undefined || id === state.conversation.id) await begin();
  await archive.remove(id);
}
