// What the page knows: settings, turns, what is being written. Kept for this tab in its session storage.

const KEPT = "antiphon.conversation";

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
 * A turn is `{id, role, content, reply?}`: `content` holds blocks as the API has them, `reply` what is known of how an
 * assistant's turn came about. `answers` are results being written, by the id of their call; `attached` are blocks
 * that go with the next message.
 */
export const state = {
  settings: { ...DEFAULTS },
  turns: [],
  models: [],
  running: null,
  answers: {},
  attached: [],
  editing: null,
};

const listeners = new Map();

/** Call back when one of these things changes: `turns`, `settings`, `models`, `running`, `attached`, `draft`. */
export function on(names, callback) {
  for (const name of names.split(" ")) {
    if (!listeners.has(name)) listeners.set(name, []);
    listeners.get(name).push(callback);
  }
}

/** Say that something changed. */
export function changed(name) {
  for (const callback of listeners.get(name) ?? []) callback();
  if (name === "turns" || name === "settings") keep();
}

/** Change settings. */
export function choose(more) {
  Object.assign(state.settings, more);
  changed("settings");
}

let last = 0;

/** A new name for a turn, unique in this page. */
export const freshId = () => `turn-${Date.now().toString(36)}-${++last}`;

/** Put the turns in place of those that are there. */
export function setTurns(turns) {
  state.turns = turns;
  state.answers = {};
  state.editing = null;
  changed("turns");
}

let waiting = 0;

function keep() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(snapshot()));
    } catch {
      // Large pictures do not fit; the conversation then lasts as long as the page.
    }
  }, 250);
}

/** The conversation as it is kept and exported: no raw events, nothing that is only for show. */
export function snapshot() {
  const turns = state.turns.map(({ id, role, content, reply }) => {
    if (!reply) return { id, role, content };
    const { body, events, ...rest } = reply;
    return { id, role, content, reply: { ...rest, parameters: body ? without(body, "messages") : reply.parameters } };
  });
  return { settings: state.settings, turns };
}

const without = (object, name) => Object.fromEntries(Object.entries(object).filter(([key]) => key !== name));

/** Take up what an earlier page of this tab kept. */
export function restore() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    if (!kept) return;
    Object.assign(state.settings, kept.settings);
    state.turns = kept.turns ?? [];
  } catch {
    sessionStorage.removeItem(KEPT);
  }
}

/** The calls at the end of the conversation that have no result yet. */
export function openCalls() {
  const turn = state.turns.at(-1);
  if (state.running || turn?.role !== "assistant") return [];
  return turn.content.filter((block) => block.type === "tool_use" && !block.cut);
}
