// From settings and turns to the body of a request.

/** Something in the settings that cannot be sent, and the setting it is in. */
export class Unsendable extends Error {
  constructor(setting, message) {
    super(message);
    this.setting = setting;
  }
}

/**
 * A whole body: parameters and messages. A call that must be made is made once: where results are sent, the model is
 * free to answer. Raises Unsendable.
 */
export function bodyOf(settings, turns) {
  const answered = turns.at(-1)?.content.some((block) => block.type === "tool_result");
  const forced = ["any", "tool"].includes(settings.toolChoice);
  return { ...parameters(answered && forced ? { ...settings, toolChoice: "" } : settings), messages: messages(turns) };
}

/** Everything of a body but its messages. Raises Unsendable. */
export function parameters(settings) {
  const body = { model: settings.model || "default", max_tokens: number(settings, "maxTokens", 1) ?? 1024 };
  if (settings.system.trim()) body.system = settings.system;
  if (settings.tools.length) {
    body.tools = settings.tools;
    const choice = toolChoice(settings);
    if (choice) body.tool_choice = choice;
  }
  const sampling = { temperature: ["temperature", 0], top_p: ["topP", 0], top_k: ["topK", 0] };
  for (const [name, [setting, least]] of Object.entries(sampling)) {
    const value = number(settings, setting, least);
    if (value !== null) body[name] = value;
  }
  const stops = settings.stop.split("\n").filter(Boolean);
  if (stops.length) body.stop_sequences = stops;
  if (settings.thinking) {
    body.thinking = { type: settings.thinking };
    if (settings.thinking === "enabled") body.thinking.budget_tokens = number(settings, "budget", 1) ?? 1024;
  }
  const output = outputConfig(settings);
  if (output) body.output_config = output;
  return body;
}

function toolChoice(settings) {
  const type = settings.toolChoice || (settings.oneCall ? "auto" : "");
  if (!type) return null;
  const choice = { type };
  if (type === "tool") choice.name = settings.toolName || nameOf(settings.tools[0]);
  if (settings.oneCall && type !== "none") choice.disable_parallel_tool_use = true;
  return choice;
}

/** What a tool is called. */
export const nameOf = (tool) => tool.name ?? tool.type;

function outputConfig(settings) {
  const config = {};
  if (settings.effort) config.effort = settings.effort;
  if (settings.schema.trim()) {
    config.format = { type: "json_schema", schema: read(settings.schema, "schema", "The output schema") };
  }
  return Object.keys(config).length ? config : null;
}

/** The value of a JSON text. Raises Unsendable that names the setting. */
export function read(text, setting, what) {
  try {
    return JSON.parse(text);
  } catch (trouble) {
    throw new Unsendable(setting, `${what} is not valid JSON: ${trouble.message}`);
  }
}

function number(settings, setting, least) {
  const text = String(settings[setting]).trim();
  if (!text) return null;
  const value = Number(text);
  if (!Number.isFinite(value) || value < least) {
    throw new Unsendable(setting, `“${text}” is not a number of at least ${least}.`);
  }
  return value;
}

/** The turns as messages. What was cut off and cannot be sent back is left out. */
export function messages(turns) {
  return turns
    .map(({ role, content }) => ({ role, content: content.filter(sendable).map(wire) }))
    .filter(({ content }) => content.length);
}

function sendable(block) {
  if (block.type === "text") return block.text !== "";
  if (block.type === "thinking") return Boolean(block.signature);
  return !(block.type.endsWith("tool_use") && block.cut);
}

/** A block without what only this page notes on it. */
function wire(block) {
  const { seconds, cut, partial, open, began, ...sent } = block;
  return sent;
}
