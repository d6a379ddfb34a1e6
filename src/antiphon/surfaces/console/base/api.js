// Requests to the server that this page came from, with the key where one is asked for.

const KEY = "antiphon.key";
let askForKey = async () => null;

/** Where the API is: beside this page. */
export const base = new URL(".", document.baseURI).href.replace(/\/(v1\/?)?$/, "");

/** Say how to ask people for a key: a function that gives a promise of one, or of null. */
export function askWith(ask) {
  askForKey = ask;
}

export const key = () => sessionStorage.getItem(KEY) ?? "";

/** Keep a key for as long as this tab is open; an empty one is forgotten. */
export function setKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

/** An answer that is no success, in the words of the server. */
export class ApiError extends Error {
  constructor(status, type, message, requestId = "", retryAfter = "") {
    super(message);
    Object.assign(this, { status, type, requestId, retryAfter });
  }
}

let asking = null;

/** Send a request; the response is a success. `quiet` does not ask for a key. Raises ApiError. */
export async function request(path, { body, signal, quiet = false, accept = "application/json" } = {}) {
  for (;;) {
    const response = await attempt(path, body, signal, accept);
    if (response.ok) return response;
    const failure = await failed(response);
    if (response.status !== 401 || quiet) throw failure;
    asking ??= askForKey(failure.message, Boolean(key())).finally(() => (asking = null));
    const given = await asking;
    if (!given) throw failure;
    setKey(given);
  }
}

async function attempt(path, body, signal, accept) {
  const headers = { accept, "anthropic-version": "2023-06-01" };
  if (accept === "text/event-stream") headers["antiphon-progress"] = "1";
  if (key()) headers["x-api-key"] = key();
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    return await fetch(`${base}/${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  } catch (trouble) {
    if (trouble.name === "AbortError") throw trouble;
    throw new ApiError(0, "connection_error", "The server cannot be reached. Is it still running?");
  }
}

async function failed(response) {
  const text = await response.text();
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    error = { message: text.slice(0, 400) };
  }
  return new ApiError(
    response.status,
    error.type ?? "error",
    error.message ?? `The server answered ${response.status}.`,
    response.headers.get("request-id") ?? "",
    response.headers.get("retry-after") ?? "",
  );
}

/** The JSON that a request is answered with. */
export const json = async (path, options) => (await request(path, options)).json();

/** The text that a request is answered with. */
export const text = async (path, options) => (await request(path, { accept: "text/plain", ...options })).text();

/** The server-sent events of a message: each `{event, data, at}`, `data` as text, `at` in milliseconds. */
export async function* stream(body, signal) {
  const response = await request("v1/messages", { body, signal, accept: "text/event-stream" });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    const at = performance.now();
    for (const frame of frames) yield { ...fields(frame), at };
  }
}

function fields(frame) {
  const found = { event: "message", data: "" };
  for (const line of frame.split("\n")) {
    const cut = line.indexOf(": ");
    if (line.startsWith("event: ")) found.event = line.slice(cut + 2);
    else if (line.startsWith("data: ")) found.data += line.slice(cut + 2);
  }
  return found;
}
