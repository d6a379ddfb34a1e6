// What can be done with the conversation: send, stop, retry, edit, answer calls.

import { announce } from "./dom.js";
import { ApiError, stream } from "./api.js";
import { begin, end, figures, take } from "./reply.js";
import { bodyOf } from "./request.js";
import { changed, freshId, openCalls, setTurns, state } from "./store.js";

let redraw = () => {};

/** Say what draws a turn that grows. */
export function drawWith(draw) {
  redraw = draw;
}

/** Send what was written, with what is attached and the results of open calls. Raises Unsendable. */
export function send(text) {
  if (state.running) return;
  const content = composed(text);
  if (!content.length) return;
  const turns = [...state.turns, { id: freshId(), role: "user", content }];
  const body = bodyOf(state.settings, turns);
  state.attached = [];
  changed("attached");
  setTurns(turns);
  run(body);
}

/** The blocks of the next message: results of open calls, what is attached, and this text. */
function composed(text) {
  const results = openCalls().map((call) => {
    const { text: content = "", failed = false } = state.answers[call.id] ?? {};
    return { type: "tool_result", tool_use_id: call.id, content, ...(failed ? { is_error: true } : {}) };
  });
  return [...results, ...state.attached.map((each) => each.block), ...textBlocks(text)];
}

const textBlocks = (text) => (text.trim() ? [{ type: "text", text }] : []);

/** Ask again for the reply at this place, or for the one that is missing at the end. Raises Unsendable. */
export function retry(turn) {
  if (state.running) return;
  const at = turn ? state.turns.indexOf(turn) : state.turns.length;
  const turns = state.turns.slice(0, at);
  if (turns.at(-1)?.role !== "user") return;
  const body = bodyOf(state.settings, turns);
  setTurns(turns);
  run(body);
}

/** Let a turn say something else; what came after it is dropped. A user's turn is then sent. Raises Unsendable. */
export function edit(turn, text) {
  if (state.running) return;
  const at = state.turns.indexOf(turn);
  // Calls come last in a turn, everything else before its text.
  const calls = turn.content.filter((block) => block.type === "tool_use");
  const others = turn.content.filter((block) => !["text", "tool_use"].includes(block.type));
  const content = [...others, ...textBlocks(text), ...calls];
  if (!content.length) return;
  const turns = [...state.turns.slice(0, at), { id: freshId(), role: turn.role, content }];
  const body = turn.role === "user" ? bodyOf(state.settings, turns) : null;
  setTurns(turns);
  if (body) run(body);
}

/** Drop a turn and all that came after it. */
export function remove(turn) {
  if (!state.running) setTurns(state.turns.slice(0, state.turns.indexOf(turn)));
}

/** End the running reply; what has come stays. */
export function stop() {
  state.running?.abort();
}

/** The body of the next request, with the results and the text being written in it. Raises Unsendable. */
export function draft(text) {
  const content = composed(text);
  const turns = content.length ? [...state.turns, { id: "draft", role: "user", content }] : state.turns;
  return probing(bodyOf(state.settings, turns), turns);
}

/** The body with the id of the message before, by which the server compares their prompts. */
function probing(body, turns) {
  const before = turns.findLast((turn) => turn.reply?.messageId);
  return { ...body, diagnostics: { previous_message_id: before?.reply.messageId ?? null } };
}

async function run(parameters) {
  const body = { ...probing(parameters, state.turns), stream: true };
  const turn = begin(freshId(), body);
  const running = new AbortController();
  state.running = running;
  state.turns = [...state.turns, turn];
  changed("turns");
  changed("running");
  announce("The model is answering");
  try {
    for await (const event of stream(body, running.signal)) {
      take(turn, event);
      redraw(turn);
    }
    if (!turn.reply.stopReason && !turn.reply.error) {
      turn.reply.error = { type: "connection_error", message: "The connection broke off before the reply was over." };
    }
  } catch (trouble) {
    if (running.signal.aborted) turn.reply.stopReason ??= "stopped here";
    else turn.reply.error = told(trouble);
  }
  end(turn);
  state.running = null;
  changed("turns");
  changed("running");
  announce(turn.reply.error ? `Failed: ${turn.reply.error.message}` : spoken(turn));
}

function told(trouble) {
  if (!(trouble instanceof ApiError)) return { type: "page_error", message: String(trouble.message ?? trouble) };
  const { type, message, status, requestId, retryAfter } = trouble;
  return { type, message, status, requestId, retryAfter };
}

function spoken(turn) {
  const calls = turn.content.filter((block) => block.type === "tool_use").length;
  const what = calls ? `${calls} tool ${calls === 1 ? "call" : "calls"} to answer` : "Reply finished";
  return `${what}, ${figures(turn.reply)?.written ?? 0} tokens`;
}
