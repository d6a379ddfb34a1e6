// A reply as its events come in: blocks, figures, and everything as it came.

/** A turn of the assistant that is to be filled by a request with this body. */
export function begin(id, body) {
  return { id, role: "assistant", content: [], reply: fresh(body, 0) };
}

/** Let a turn grow by the reply to this body, which ends with what the turn says so far. */
export function resume(turn, body) {
  turn.reply = fresh(body, turn.content.length);
}

/** A reply of which nothing has come. Its blocks stand behind `base` others in the content of its turn. */
function fresh(body, base) {
  const reply = { body, base, events: [], began: performance.now(), first: null, last: null, progress: null };
  return { ...reply, usage: null, stopReason: null, messageId: null, error: null };
}

/** Take one event into a turn. */
export function take(turn, { event, data, at }) {
  const { reply } = turn;
  reply.events.push({ event, data, at: at - reply.began });
  const told = JSON.parse(data);
  switch (told.type) {
    case "message_start":
      reply.messageId = told.message.id;
      reply.usage = { ...told.message.usage };
      break;
    case "ping":
      reply.progress = told.progress ?? reply.progress;
      break;
    case "content_block_start":
      reply.progress = null;
      start(turn, told, at);
      break;
    case "content_block_delta":
      reply.first ??= at;
      reply.last = at;
      grow(turn.content[reply.base + told.index], told.delta);
      break;
    case "content_block_stop":
      close(turn.content[reply.base + told.index], at);
      break;
    case "message_delta":
      reply.stopReason = told.delta.stop_reason;
      Object.assign(reply.usage, told.usage);
      break;
    case "error":
      reply.error = { type: told.error.type, message: told.error.message, requestId: told.request_id };
      break;
    default:
  }
}

/** Open a block. Text that goes on where the turn's text was cut belongs to the same block. */
function start({ reply, content }, { index, content_block: block }, at) {
  const before = content[reply.base - 1];
  if (index === 0 && before?.type === "text" && block.type === "text") {
    reply.base -= 1;
    Object.assign(before, { open: true, began: at });
  } else content[reply.base + index] = { ...block, open: true, began: at, ...("input" in block ? { partial: "" } : {}) };
}

function grow(block, delta) {
  if (delta.type === "text_delta") block.text += delta.text;
  else if (delta.type === "thinking_delta") block.thinking += delta.thinking;
  else if (delta.type === "signature_delta") block.signature = (block.signature ?? "") + delta.signature;
  else if (delta.type === "input_json_delta") block.partial += delta.partial_json;
  else if (delta.type === "citations_delta") block.citations = [...(block.citations ?? []), delta.citation];
}

function close(block, at) {
  if (block.partial) {
    try {
      block.input = JSON.parse(block.partial);
    } catch {
      block.cut = true;
    }
  }
  if (block.type === "thinking") block.seconds = (at - block.began) / 1000;
  for (const name of ["open", "began", "partial"]) delete block[name];
}

/** How much of its prompt is read while nothing of the reply has come, in words; nothing where the server did not say. */
export function reading({ progress }) {
  if (!progress) return "";
  const count = (tokens) => tokens.toLocaleString("en");
  const disk = progress.restored_tokens ? `, ${count(progress.restored_tokens)} of them from disk` : "";
  return `Reading the prompt: ${count(progress.read_tokens)} of ${count(progress.prompt_tokens)} tokens${disk}`;
}

/** The reply is over, whole or not. What was open stays as it is, and says that it was cut. */
export function end(turn) {
  for (const block of turn.content) {
    if (!block?.open) continue;
    if (block.type.endsWith("tool_use")) block.cut = true;
    for (const name of ["open", "began"]) delete block[name];
  }
  turn.content = turn.content.filter(Boolean);
  if (!turn.reply.error) turn.reply.stopReason ??= STOPPED;
  // A tool that was running on the server when the reply broke off: its call cannot be sent back without a result.
  const answered = new Set(turn.content.map((block) => block.tool_use_id));
  const pending = (block) => /^(server|mcp)_tool_use$/.test(block.type) && !answered.has(block.id);
  if (turn.reply.stopReason !== "pause_turn") for (const block of turn.content.filter(pending)) block.cut = true;
}

/** The reason to stop that this page gives: whoever reads it wanted no more. */
export const STOPPED = "stopped here";

/** Whether a reply broke off where the model can go on: in its text, or between rounds of tools that run on the server. */
export function resumable({ content, reply }) {
  const cut = reply?.error || ["max_tokens", "pause_turn", STOPPED].includes(reply?.stopReason);
  if (!cut || !content.length) return false;
  return reply.stopReason === "pause_turn" || (content.at(-1).type === "text" && Boolean(content.at(-1).text.trim()));
}

/** What there is to say of a finished reply, in tokens and seconds. */
export function figures(reply) {
  const { usage, began, first, last } = reply;
  if (!usage) return null;
  const written = usage.output_tokens ?? 0;
  const span = first !== null && last > first ? (last - first) / 1000 : 0;
  return {
    fresh: (usage.input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0),
    cached: usage.cache_read_input_tokens ?? 0,
    written,
    wait: first === null ? null : (first - began) / 1000,
    pace: span > 0 && written > 1 ? (written - 1) / span : null,
  };
}
