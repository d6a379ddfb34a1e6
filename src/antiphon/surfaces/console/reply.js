// A reply as its events come in: blocks, figures, and everything as it came.

/** A turn of the assistant that is to be filled by a request with this body. */
export function begin(id, body) {
  const reply = { body, events: [], began: performance.now(), first: null, last: null, progress: null };
  return { id, role: "assistant", content: [], reply: { ...reply, usage: null, stopReason: null, messageId: null, error: null } };
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
      turn.content[told.index] = opened(told.content_block, at);
      break;
    case "content_block_delta":
      reply.first ??= at;
      reply.last = at;
      grow(turn.content[told.index], told.delta);
      break;
    case "content_block_stop":
      close(turn.content[told.index], at);
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

function opened(block, at) {
  return { ...block, open: true, began: at, ...(block.type === "tool_use" ? { partial: "" } : {}) };
}

function grow(block, delta) {
  if (delta.type === "text_delta") block.text += delta.text;
  else if (delta.type === "thinking_delta") block.thinking += delta.thinking;
  else if (delta.type === "signature_delta") block.signature = (block.signature ?? "") + delta.signature;
  else if (delta.type === "input_json_delta") block.partial += delta.partial_json;
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
    if (block.type === "tool_use") block.cut = true;
    for (const name of ["open", "began"]) delete block[name];
  }
  turn.content = turn.content.filter(Boolean);
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
