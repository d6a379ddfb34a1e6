// Conversations as files.

import { toast } from "./dom.js";
import { freshId, choose, DEFAULTS, setTurns, snapshot } from "./store.js";

const FORMAT = "antiphon-conversation";

/** Save the conversation as a file. */
export function save() {
  const text = JSON.stringify({ format: FORMAT, version: 1, ...snapshot() }, null, 2);
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `conversation-${new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-")}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** Let people choose a file, and take its conversation up. */
export function open() {
  const chooser = document.createElement("input");
  chooser.type = "file";
  chooser.accept = "application/json,.json";
  chooser.addEventListener("change", async () => {
    try {
      take(JSON.parse(await chooser.files[0].text()));
      toast("Conversation imported");
    } catch (trouble) {
      toast(`That file is no conversation: ${trouble.message}`);
    }
  });
  chooser.click();
}

/** Take up what a file holds: a conversation of this page, or the body of a request. Raises an Error. */
export function take(found) {
  if (found?.format === FORMAT) {
    choose({ ...DEFAULTS, ...found.settings });
    setTurns(found.turns.map(checked));
  } else if (Array.isArray(found?.messages)) {
    choose(settingsOf(found));
    setTurns(found.messages.map(checked));
  } else throw new Error("it has neither turns nor messages");
}

function checked({ role, content, reply }) {
  if (role !== "user" && role !== "assistant") throw new Error(`a turn of ${role}`);
  const blocks = typeof content === "string" ? [{ type: "text", text: content }] : content;
  if (!Array.isArray(blocks) || blocks.some((block) => typeof block?.type !== "string")) throw new Error("a turn without blocks");
  return { id: freshId(), role, content: blocks, ...(reply ? { reply: { events: [], ...reply } } : {}) };
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
