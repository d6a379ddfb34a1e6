// Conversations on disk, in this browser's IndexedDB: in `heads` what the list shows and searches, in `bodies` the rest.

const NAME = "antiphon";
const STORES = ["heads", "bodies"];

let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => STORES.forEach((name) => request.result.createObjectStore(name, { keyPath: "id" }));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Do something with both stores in one transaction; gives what its request found, once all is on disk. */
async function within(mode, act) {
  const transaction = (await database()).transaction(STORES, mode);
  const request = act(...STORES.map((name) => transaction.objectStore(name)));
  // At once, for a page that is about to go away.
  if (mode === "readwrite") transaction.commit();
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

/** The heads of all conversations, `{id, title, named, updated, text}`, the newest first. */
export async function heads() {
  const found = await within("readonly", (store) => store.getAll());
  return found.sort((one, other) => other.updated - one.updated);
}

/** A conversation, `{head, body}`, or nothing where it is gone. */
export async function load(id) {
  const [head, body] = await Promise.all([
    within("readonly", (store) => store.get(id)), within("readonly", (_, store) => store.get(id)),
  ]);
  return head && body ? { head, body } : null;
}

/** Write a conversation. Rejects where the browser has no room for it. */
export async function save(head, body) {
  await within("readwrite", (first, second) => {
    first.put(head);
    second.put(body);
  });
  tell();
}

/** Give a conversation a title of its own. */
export async function rename(id, title) {
  const head = await within("readonly", (store) => store.get(id));
  if (!head) return;
  await within("readwrite", (store) => store.put({ ...head, title, named: true }));
  tell();
}

/** Delete a conversation, or all of them. */
export async function remove(id) {
  await within("readwrite", (...stores) => stores.forEach((store) => (id === undefined ? store.clear() : store.delete(id))));
  tell();
}

const channel = new BroadcastChannel(NAME);
const followers = [];

/** Call back when a conversation was written or deleted, here or in another tab. */
export function follow(callback) {
  followers.push(callback);
}

function tell() {
  channel.postMessage("changed");
  followers.forEach((callback) => callback());
}

channel.onmessage = () => followers.forEach((callback) => callback());
