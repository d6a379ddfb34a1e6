// What the page knows: settings, turns, what is being written. `library/library.js` keeps it.

import { show, shown } from "./tree.js";

export const DEFAULTS = Object.freeze({
  model: "",
  system: "",
  tools: [],
  toolChoice: "",
  toolName: "",
  oneCall: false,
  maxTokens: "1024",
  temperature: "",
  topP: "",
  topK: "",
  stop: "",
  thinking: "",
  budget: "2048",
  effort: "",
  schema: "",
});

/**
 * A turn is `{id, parent, next, role, content, reply?}`: `content` holds blocks as the API has them, `reply` what is
 * known of how an assistant's turn came about. `turns` are those that are shown, `all` has their other versions, too.
 * `answers` are results being written, by the id of their call; `attached` are blocks that go with the next message.
 */
export const state = {
  settings: { ...DEFAULTS },
  conversation: null,
  all: [],
  turns: [],
  models: [],
  running: null,
  answers: {},
  attached: [],
  editing: null,
};

const listeners = new Map();

/**
 * Call back when one of these things changes: `conversation` (another one is shown), `turns`, `settings`, `models`,
 * `running`, `attached`, `draft`.
 */
export function on(names, callback) {
  for (const name of names.split(" ")) {
    if (!listeners.has(name)) listeners.set(name, []);
    listeners.get(name).push(callback);
  }
}

/** Say that something changed. */
export function changed(name) {
  for (const callback of listeners.get(name) ?? []) callback();
}

/** Change settings. */
export function choose(more) {
  Object.assign(state.settings, more);
  changed("settings");
}

let last = 0;

/** A new name for a turn or a conversation, unique in this browser. */
export const freshId = (kind = "turn") => `${kind}-${Date.now().toString(36)}-${++last}`;

/** Show these turns. Those that are shown no longer stay, as other versions. */
export function setTurns(turns) {
  show(state.all, turns);
  state.turns = turns;
  state.answers = {};
  state.editing = null;
  changed("turns");
}

/** Show another conversation: `{id, title, named}`, all of its turns, the first that is shown; a new one without them. */
export function open(conversation = { id: freshId("talk"), title: "", named: false }, all = [], first = null) {
  state.conversation = conversation;
  state.all = all;
  setTurns(shown(all, first));
  changed("conversation");
}

/** The conversation as it is kept and exported: no raw events, nothing that is only for show. */
export function snapshot() {
  const turns = state.all.map(({ reply, ...turn }) => {
    if (!reply) return turn;
    const { body, events, ...rest } = reply;
    return { ...turn, reply: { ...rest, parameters: body ? without(body, "messages") : reply.parameters } };
  });
  return { settings: state.settings, turns, first: state.turns[0]?.id ?? null };
}

const without = (object, name) => Object.fromEntries(Object.entries(object).filter(([key]) => key !== name));

/** The calls at the end of the conversation that have no result yet. */
export function openCalls() {
  const turn = state.turns.at(-1);
  if (state.running || turn?.role !== "assistant") return [];
  return turn.content.filter((block) => block.type === "tool_use" && !block.cut);
}
