// The keys page: what one's own key may do and has left; for an admin, all keys.

import { json, key as keyInUse, setKey } from "../base/api.js";
import { full, meter } from "./charts.js";
import { askForKey, confirm, menu } from "../base/dialogs.js";
import { announce, fill, h, iconButton } from "../base/dom.js";
import { askForKeyRights, askForOverlap, showSecret } from "./keyforms.js";
import { spanOf } from "./periods.js";

const FIRST = 100;
const ENDED = { expired: "expired", revoked: "revoked" };

/** The page. */
export class KeysPage {
  constructor() {
    this.keys = [];
    this.trouble = h("p.trouble", { hidden: true, role: "alert" });
    this.own = h("section.own");
    this.search = h("input", { type: "search", placeholder: "Find by name, label or model", "aria-label": "Find keys", autocomplete: "off", oninput: () => this.found() });
    this.ended = h("input", { type: "checkbox", onchange: () => this.draw() });
    this.list = h("ul.keylist");
    this.none = h("p.hint");
    this.all = h("section", { "aria-label": "All keys", hidden: true },
      h("header", {}, h("h2", {}, "All keys"), h("button.primary", { type: "button", onclick: () => this.add() }, "Add a key")),
      h("div.choices", {}, this.search, h("label.check", {}, this.ended, "Also those that ended")), this.list, this.none);
    this.node = h("div.paper", {},
      h("header", {}, h("h1", { tabindex: -1 }, "Keys"), h("button.outlined", { type: "button", onclick: () => this.use() }, "Use another key")),
      this.trouble, this.own, this.all);
  }

  async refresh() {
    try {
      this.me = await json("v1/keys/me");
      if (this.me.manages_keys) await this.readAll();
      this.trouble.hidden = true;
      fill(this.own, ownKey(this.me));
      this.all.hidden = !this.me.manages_keys;
      this.draw();
    } catch (failure) {
      this.trouble.hidden = false;
      fill(this.trouble, failure.message);
    }
  }

  async readAll() {
    const { from } = spanOf("month", new Date());
    const [keys, used] = await Promise.all([json("v1/keys"), json(`v1/usage?by=key&starting_at=${from.toISOString()}`).catch(() => ({ data: [] }))]);
    const spent = new Map(used.data.map((row) => [row.key, row.input_tokens + row.cache_creation_input_tokens + row.output_tokens]));
    this.keys = keys.data.map((key) => ({ ...key, spent: spent.get(key.label) ?? 0 }));
  }

  matching() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = (key) => [key.name, key.label, key.hint, ...key.models].join("\n").toLowerCase();
    return this.keys.filter((key) => (this.ended.checked || !ENDED[key.status]) && words.every((word) => text(key).includes(word)));
  }

  found() {
    this.draw();
    announce(`${this.matching().length} keys`);
  }

  draw() {
    const found = this.matching();
    fill(this.list, found.slice(0, FIRST).map((key) => this.item(key)));
    const rest = found.length - FIRST;
    fill(this.none, rest > 0 ? `${full(rest)} more; find them by name.` : found.length ? "" : "There is no such key.");
    this.none.hidden = rest <= 0 && found.length > 0;
  }

  item(key) {
    const acts = (event) => menu(event.currentTarget, [
      { label: "Change", run: () => this.change(key) },
      { label: "Exchange the secret", run: () => this.rotate(key) },
      { label: "Revoke", run: () => this.revoke(key) },
    ]);
    return h("li", { dataset: { label: key.label } },
      h("div.who", {}, h("h3", {}, key.name), h("code", {}, key.hint), marks(key, this.me)),
      h("dl.facts", {}, rights(key).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      ENDED[key.status] ? null : iconButton("more", `More about ${key.name}`, acts, { "aria-haspopup": "menu" }));
  }

  async use() {
    const given = await askForKey("", Boolean(keyInUse()), "Another key");
    if (!given) return;
    setKey(given);
    document.dispatchEvent(new Event("key"));
    await this.refresh();
  }

  add() {
    askForKeyRights("Add a key", {}, async (rights) => {
      const { key, secret } = await json("v1/keys", { body: rights });
      await this.refresh();
      showSecret(key, secret);
    });
  }

  change(key) {
    askForKeyRights(`Change ${key.name}`, key, async (rights) => {
      await json(`v1/keys/${key.label}`, { body: rights });
      await this.refresh();
      announce(`${rights.name} is changed`);
    });
  }

  rotate(key) {
    askForOverlap(key, async (overlap) => {
      const made = await json(`v1/keys/${key.label}/rotate`, { body: { overlap } });
      if (this.mine(key)) await this.goOnWith(made.secret);
      await this.refresh();
      showSecret(made.key, made.secret);
    });
  }

  revoke(key) {
    const about = this.mine(key) ? "It is the key that this page uses: you will be asked for another one." : "Whoever uses it is refused within a second, for good. What it used stays in the usage.";
    confirm(`Revoke ${key.name}?`, about, "Revoke", async () => {
      await json(`v1/keys/${key.label}/revoke`, { body: {} });
      announce(`${key.name} is revoked`);
      await this.refresh();
    });
  }

  mine(key) {
    return key.label === this.me.key?.label;
  }

  /** Use this secret from now on. Other workers of the server know it within the second. */
  async goOnWith(secret) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    setKey(secret);
  }
}

const marks = (key, me) => h("p.marks", {}, ENDED[key.status] && h("span.ended", {}, ENDED[key.status]), key.admin && h("span", {}, "admin"),
  key.label === me.key?.label && h("span", {}, "in use here"));

const UNITS = { requests: "requests", input_tokens: "input tokens", output_tokens: "output tokens", tool_calls: "tool calls" };

function rights(key) {
  const limits = Object.entries(UNITS).filter(([name]) => key.limits[name]).map(([name, unit]) => `${full(key.limits[name])} ${unit}`);
  const spent = key.budget ? [`${full(key.spent)} of ${full(key.budget)} tokens`, meter(key.spent, key.budget)] : `${full(key.spent)} tokens`;
  return [
    ["Models", key.models.join(", ") || "all"],
    ["A minute", limits.join(", ") || "as the server allows"],
    ["This month", spent],
    ["Expires", key.expires_at ? day(key.expires_at) : "never"],
    ["In the log", h("code", {}, key.label)],
  ];
}

const day = (time) => new Date(time).toLocaleDateString("en", { dateStyle: "medium", timeZone: "UTC" });

/** One's own key: its rights, what is left of them, and what one can do about it. */
function ownKey(me) {
  const { key } = me;
  if (!key) return [h("h2", {}, "No key"), ...unkeyed(me)];
  const left = me.limits.map((one) => row(one.kind.replace("-", " "), `${full(one.remaining)} of ${full(one.limit)} left this minute`, one.limit - one.remaining, one.limit));
  const budget = me.budget && row("budget", `${full(me.budget.spent)} of ${full(me.budget.tokens)} tokens spent; it begins anew on ${day(me.budget.resets_at)}`, me.budget.spent, me.budget.tokens);
  const facts = [["Models", key.models.join(", ") || "all"], ["Expires", key.expires_at ? day(key.expires_at) : "never"], ["In the log", h("code", {}, key.label)]];
  return [
    h("h2", {}, key.name || "A key of the server's settings"), h("p.marks", {}, key.hint && h("code", {}, key.hint), key.admin && h("span", {}, "admin")),
    h("dl.facts", {}, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    left.length || budget ? h("div.left", {}, left, budget) : h("p.hint", {}, "It may use as much as the server can do."),
    key.admin ? null : h("p.hint", {}, "What it used is on the page ", h("a", { href: "#usage" }, "Usage"), "."),
  ];
}

const row = (name, told, used, most) => h("div", {}, h("p", {}, h("b", {}, name), " ", told), meter(used, most));

function unkeyed({ keys_required: required }) {
  const first = [h("p", {}, "The first one is made on the machine of the server, and manages the others here:"), h("pre.code", {}, "antiphon keys add NAME --admin")];
  return required ? [h("p", {}, "This server asks for a key.")] : [h("p", {}, "This server asks nobody for a key."), ...first];
}
