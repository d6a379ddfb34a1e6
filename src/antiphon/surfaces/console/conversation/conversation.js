// What can be done with the conversation: send, stop, retry, edit, answer calls.

import { announce } from "../base/dom.js";
import { ApiError, stream } from "../base/api.js";
import { begin, end, figures, resume, take } from "../reply/reply.js";
import { bodyOf } from "./request.js";
import { changed, freshId, openCalls, setTurns, state } from "./store.js";
import { through, versions, without } from "./tree.js";

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
  start(body);
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

/**
 * Ask for another version of this reply, or for the one that is missing at the end; with `other` settings than those of the
 * conversation where there are any. Raises Unsendable.
 */
export function retry(turn, other = {}) {
  if (state.running) return;
  const at = turn ? state.turns.indexOf(turn) : state.turns.length;
  const turns = state.turns.slice(0, at);
  if (turns.at(-1)?.role !== "user") return;
  const body = bodyOf({ ...state.settings, ...other }, turns);
  setTurns(turns);
  start(body);
}

/** Let the model go on with the last reply, which broke off. Raises Unsendable. */
export function goOn() {
  if (state.running) return;
  const turn = state.turns.at(-1);
  const last = turn.content.at(-1);
  // The API takes no blanks at the end of what is to be continued; the model writes them itself.
  if (last.type === "text") last.text = last.text.trimEnd();
  start(bodyOf(state.settings, state.turns), turn);
}

/** Make another version of a turn, which says this. A user's turn is then sent. Raises Unsendable. */
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
  if (body) start(body);
}

/** Show the version of a turn that was made so many before or after it. */
export function turnTo(turn, by) {
  const found = versions(state.all, turn);
  const version = found[found.indexOf(turn) + by];
  if (!version || state.running) return;
  setTurns(through(state.all, state.turns, version));
  announce(`Version ${found.indexOf(version) + 1} of ${found.length}`);
}

/** Drop this version of a turn and all that came after it; where there is another, it is shown. */
export function remove(turn) {
  if (state.running) return;
  const found = versions(state.all, turn);
  const at = found.indexOf(turn);
  const other = found[at - 1] ?? found[at + 1];
  const turns = other ? through(state.all, state.turns, other) : state.turns.slice(0, state.turns.indexOf(turn));
  state.all = without(state.all, turn);
  setTurns(turns);
}

let finished = Promise.resolve();

/** End the running reply; what has come stays. */
export function stop() {
  state.running?.abort();
}

/** End the running reply, and wait until it has. */
export function halt() {
  stop();
  return finished;
}

function start(body, turn) {
  finished = run(body, turn);
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

/** Send a body; the reply becomes a new turn, or what comes next of one that broke off. */
async function run(parameters, broken) {
  const body = { ...probing(parameters, state.turns), stream: true };
  if (broken) resume(broken, body);
  const turn = broken ?? begin(freshId(), body);
  const running = new AbortController();
  state.running = running;
  setTurns(broken ? state.turns : [...state.turns, turn]);
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
    if (!running.signal.aborted) turn.reply.error = told(trouble);
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
