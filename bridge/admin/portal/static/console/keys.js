// API keys: listed, issued, rotated and revoked. A key's text is shown once, in this page alone, until it is hidden.

import { confirmed } from "./confirm.js";
import { $, busy, copied, el, say } from "./dom.js";
import { admin, hasToken, keyUrl, problemOf } from "./gateway.js";

const SHOWN = 200; // rows; more are found through the filter
const KINDS = { ACTIVE: "good", EXPIRED: "warn", REVOKED: "bad" };
const FIELDS = ["key-subject", "key-tenant", "key-roles", "key-scopes", "key-label", "key-ttl", "key-rps", "key-burst"];
let known = [];

const limitOf = ({ limit }) => (limit ? `${limit.rps} a second${limit.burst ? `, ${limit.burst} at once` : ""}` : "–");

const words = (key) =>
  [key.id, key.prefix, key.status, key.subject, key.tenant, ...key.roles, ...key.scopes, key.by, key.revoked_by, key.lineage]
    .join(" ").toLowerCase();

const time = (at) => el("time", { datetime: at }, new Date(at).toLocaleString());

function row(key) {
  const facts = [
    key.replaced_by ? el("li", {}, "replaced by ", el("span", { class: "code" }, key.replaced_by)) : null,
    key.lineage !== key.id ? el("li", {}, "comes from ", el("span", { class: "code" }, key.lineage)) : null,
    key.revoked ? el("li", { class: "problem" }, `revoked by ${key.revoked_by ?? "somebody"}, `, time(key.revoked)) : null,
  ];
  const isActive = key.status === "ACTIVE";
  const button = (name, kind, work) => el("button", {
    type: "button", class: `small ${kind}`, "aria-label": `${name} the key ${key.id} of ${key.subject}`,
    onclick: (event) => busy(event.currentTarget, () => work(key).catch((error) => say("keys-note", error.message, "bad"))),
  }, name);
  return el(
    "tr", {},
    el("td", {}, el("span", { class: `tag ${KINDS[key.status] ?? ""}` }, key.status)),
    el("td", {}, el("span", { class: "code" }, key.prefix), el("ul", {}, ...facts)),
    el("td", {}, key.subject),
    el("td", {}, key.tenant ?? "–"),
    el("td", {}, [...key.roles, ...key.scopes.map((scope) => `scope ${scope}`)].join(", ") || "–"),
    el("td", {}, limitOf(key)),
    el("td", {}, time(key.created), el("ul", {}, el("li", {}, `by ${key.by ?? "somebody"}`))),
    el("td", {}, key.expires ? time(key.expires) : "never"),
    el("td", { class: "actions" },
      isActive && !key.replaced_by ? button("Rotate", "", rotate) : null,
      isActive ? button("Revoke", "danger", revoke) : null),
  );
}

function show(what = "") {
  const wanted = $("keys-filter").value.trim().toLowerCase().split(/\s+/);
  const found = known.filter((key) => wanted.every((word) => words(key).includes(word)));
  $("keys").replaceChildren(...found.slice(0, SHOWN).map(row));
  const many = found.length > SHOWN ? ` The first ${SHOWN} are shown; the filter finds the others.` : "";
  const count = found.length === known.length ? `${known.length}` : `${found.length} of ${known.length}`;
  say("keys-note", `${what}${count} ${known.length === 1 ? "key" : "keys"}.${many}`, what ? "good" : "");
}

/** Reads the list anew. `what` has been done, as a sentence that is told before the number of keys. */
async function load(what = "") {
  if (!hasToken()) return say("keys-note", "Paste a token with the role api_admin or auditor above, and press Load routes, first.", "warn");
  try {
    const answer = await admin("keys");
    if (!answer.ok) throw new Error(problemOf(answer));
    known = answer.json?.keys ?? [];
  } catch (error) {
    clear();
    return say("keys-note", error.message, "bad");
  }
  $("keys-box").hidden = false;
  show(what);
}

/** Shows the text of a key that was just made. */
function reveal(made, what) {
  $("new-key-title").textContent = what;
  $("new-key-text").textContent = made.key;
  say("new-key-note", "");
  $("new-key-box").hidden = false;
  $("new-key-title").focus();
}

function conceal() {
  $("new-key-text").textContent = "";
  $("new-key-box").hidden = true;
}

const names = (text, parts) => text.split(parts).map((name) => name.trim()).filter(Boolean);
const number = (text) => (text === "" ? undefined : Number(text)); // none is left out of the JSON

/** What the form asks for; what is left empty is left out. */
function terms() {
  const value = (id) => $(id).value.trim();
  const limit = value("key-rps") || value("key-burst")
    ? { rps: number(value("key-rps")), burst: number(value("key-burst")) }
    : undefined;
  return {
    subject: value("key-subject"),
    tenant: value("key-tenant") || undefined,
    roles: names(value("key-roles"), /,/),
    scopes: names(value("key-scopes"), /[\s,]+/),
    label: value("key-label") || undefined,
    ttl: value("key-ttl") || undefined,
    limit,
  };
}

function refuse(answer) {
  const errors = answer.json?.errors ?? [];
  $("key-problems").replaceChildren(...errors.map(({ pointer, reason }) =>
    el("li", {}, el("span", { class: "key" }, pointer.slice(1).replaceAll("/", ".") || "key"), reason)));
  $("key-problems").hidden = errors.length === 0;
  say("key-note", problemOf(answer), "bad");
}

async function issue() {
  $("key-problems").hidden = true;
  say("key-note", "");
  if (!hasToken()) return say("key-note", "Paste a token with the role api_admin above first.", "warn");
  const answer = await admin("keys", { method: "POST", type: "application/json", body: JSON.stringify(terms()) });
  if (!answer.ok) return refuse(answer);
  for (const id of FIELDS) $(id).value = "";
  reveal(answer.json, `The key of ${answer.json.subject}`);
  return load();
}

async function rotate(key) {
  const overlap = $("key-overlap");
  const old = overlap.value === "0s" ? "The old key is refused at once." : `The old key stays valid for ${overlap.selectedOptions[0].text}.`;
  if (!(await confirmed(`Rotate the key ${key.id} of ${key.subject}? ${old}`, "Rotate"))) return;
  const answer = await admin(keyUrl(key.id, "/rotate"), {
    method: "POST", type: "application/json", body: JSON.stringify({ overlap: overlap.value }),
  });
  if (!answer.ok) throw new Error(problemOf(answer));
  reveal(answer.json, `The key in place of ${key.id}`);
  await load();
}

async function revoke(key) {
  if (!(await confirmed(`Revoke the key ${key.id} of ${key.subject}? It is refused from now on, and can't be made valid again.`, "Revoke"))) return;
  const answer = await admin(keyUrl(key.id), { method: "DELETE" });
  if (!answer.ok) throw new Error(problemOf(answer));
  await load(`The key ${key.id} is revoked. `);
}

/** Forgets all that was read and shown, as when the token is forgotten. */
export function clear() {
  known = [];
  $("keys").replaceChildren();
  $("keys-box").hidden = true;
  conceal();
  say("keys-note", "");
}

export function startKeys() {
  $("keys-filter").addEventListener("input", () => show());
  $("show-keys").addEventListener("click", (event) => busy(event.currentTarget, () => load()));
  $("issue-key").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(event.submitter ?? $("issue-key"), () => issue().catch((error) => say("key-note", error.message, "bad")));
  });
  $("copy-key").addEventListener("click", async () => {
    const isCopied = await copied($("new-key-text").textContent);
    say("new-key-note", isCopied ? "Copied." : "The browser does not allow copying here: select the text and copy it.", isCopied ? "good" : "warn");
  });
  $("hide-key").addEventListener("click", () => {
    conceal();
    $("show-keys").focus();
  });
}
