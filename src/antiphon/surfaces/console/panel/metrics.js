// Prometheus' text, read; and what two readings say of the time between them.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** The samples of a text: each `{name, labels, value}`. */
export function read(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (!found) continue;
    const labels = Object.fromEntries([...(found[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, value]));
    samples.push({ name: found[1], labels, value: Number(found[3]) });
  }
  return samples;
}

/** The sum of the samples of a name whose labels are these. */
export function sum(samples, name, labels = {}) {
  const wanted = Object.entries(labels);
  return samples
    .filter((sample) => sample.name === name && wanted.every(([key, value]) => sample.labels[key] === value))
    .reduce((total, sample) => total + sample.value, 0);
}

/** What is drawn, from one reading. */
export function reading(samples, at) {
  return {
    at,
    running: sum(samples, "antiphon_running"),
    waiting: sum(samples, "antiphon_waiting"),
    written: sum(samples, "antiphon_output_tokens_total"),
    computed: sum(samples, "antiphon_prefill_tokens_total"),
    unread: sum(samples, "antiphon_unread_tokens"),
    cached: sum(samples, "antiphon_input_tokens_total", { kind: "cached" }),
    fresh: sum(samples, "antiphon_input_tokens_total", { kind: "new" }),
    requests: sum(samples, "antiphon_requests_total"),
  };
}

/** Tokens a second, computed of prompts and written, and the share of the prompt that came from the cache, between two readings; null for nothing. */
export function between(before, now) {
  const seconds = (now.at - before.at) / 1000;
  const cached = now.cached - before.cached;
  const all = cached + now.fresh - before.fresh;
  return {
    reading: seconds > 0 ? Math.max(now.computed - before.computed, 0) / seconds : 0,
    pace: seconds > 0 ? Math.max(now.written - before.written, 0) / seconds : 0,
    hits: all > 0 ? cached / all : null,
  };
}
