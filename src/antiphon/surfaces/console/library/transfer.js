// Conversations as files.

import { load } from "./archive.js";
import { save, toast } from "../base/dom.js";
import { begin } from "./library.js";
import { freshId, choose, DEFAULTS, open, setTurns, snapshot, state } from "../conversation/store.js";

const FORMAT = "antiphon-conversation";

/** Save the conversation that is shown as a file, with all versions of its turns. */
export function exportShown() {
  download({ title: state.conversation.title, ...snapshot() });
}

/** Save a conversation that is kept as a file. */
export async function exportKept(id) {
  const found = await load(id);
  if (found) download({ title: found.head.title, ...found.body });
}

function download({ title, settings, turns, first }) {
  const text = JSON.stringify({ format: FORMAT, version: 2, title, settings, first, turns }, null, 2);
  save(text, "application/json", `conversation-${new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-")}.json`);
}

/** Let people choose a file, and take its conversation up. */
export function importFile() {
  const chooser = document.createElement("input");
  chooser.type = "file";
  chooser.accept = "application/json,.json";
  chooser.addEventListener("change", async () => {
    try {
      await take(JSON.parse(await chooser.files[0].text()));
      toast("Conversation imported");
    } catch (trouble) {
      toast(`That file is no conversation: ${trouble.message}`);
    }
  });
  chooser.click();
}

/** Take up what a file holds as a new conversation: one of this page, or the body of a request. Rejects with an Error. */
export async function take(found) {
  const ours = found?.format === FORMAT;
  if (!ours && !Array.isArray(found?.messages)) throw new Error("it has neither turns nor messages");
  const turns = (ours ? found.turns : found.messages).map(checked);
  await begin();
  choose(ours ? { ...DEFAULTS, ...found.settings } : settingsOf(found));
  if (found.version === 2) open(state.conversation, turns, found.first);
  else setTurns(turns);
}

function checked({ id = freshId(), parent, next, role, content, reply }) {
  if (role !== "user" && role !== "assistant") throw new Error(`a turn of ${role}`);
  const blocks = typeof content === "string" ? [{ type: "text", text: content }] : content;
  if (!Array.isArray(blocks) || blocks.some((block) => typeof block?.type !== "string")) throw new Error("a turn without blocks");
  return { id, parent, next, role, content: blocks, ...(reply ? { reply: { events: [], ...reply } } : {}) };
}

function settingsOf(body) {
  const told = (value) => (value === undefined || value === null ? "" : String(value));
  const schema = body.output_config?.format?.schema;
  const system = Array.isArray(body.system) ? body.system.map((block) => block.text).join("") : told(body.system);
  return {
    ...DEFAULTS,
    ...(body.model ? { model: body.model } : {}),
    system,
    tools: body.tools ?? [],
    toolChoice: body.tool_choice?.type === "auto" ? "" : told(body.tool_choice?.type),
    toolName: told(body.tool_choice?.name),
    oneCall: Boolean(body.tool_choice?.disable_parallel_tool_use),
    maxTokens: told(body.max_tokens) || DEFAULTS.maxTokens,
    temperature: told(body.temperature),
    topP: told(body.top_p),
    topK: told(body.top_k),
    stop: (body.stop_sequences ?? []).join("\n"),
    thinking: told(body.thinking?.type),
    budget: told(body.thinking?.budget_tokens) || DEFAULTS.budget,
    effort: told(body.output_config?.effort),
    schema: schema ? JSON.stringify(schema, null, 2) : "",
  };
}
