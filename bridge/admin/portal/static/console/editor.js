// The spec that is being written: a new route, or one of the table that was opened. A file's route is only shown.

import { confirmed } from "./confirm.js";
import { $, busy, el, say } from "./dom.js";
import { admin, hasToken, problemOf, routeUrl } from "./gateway.js";
import { hideHistory, showHistory } from "./history.js";

const EXAMPLE = `route: /v1/vat/{countryCode}/{vatNumber}
methods: [GET]
tenant: revenue
upstream: vat-svc:8080
auth:
  type: JWT
  audience: REVENUE_PUBLIC
rate_limit:
  rps: 50
timeout: 2s
transform:
  request: passthrough
  response: json
`;
const NEW_HINT = "Checking changes nothing. Registering makes the route live at once. Both use the token above.";
const EDIT_HINT = "Checking changes nothing. Saving makes the change live at once, unless somebody else has changed the route meanwhile.";
const FILE_HINT = "Read-only: this route is written in a file. Change it there; the gateway follows.";
const GONE_HINT = "Read-only: this route is deleted. Roll back to a revision below to publish it again.";

let opened = null; // {id, etag, kind: "store" | "file" | "deleted"}; null for a new route
let draft = EXAMPLE; // of the new route, kept while another one is open
let before = EXAMPLE; // the text as it was loaded
let changed = async () => {}; // called when routes have changed

const ready = () => {
  if (!hasToken()) say("publish-note", "Paste a publisher token above, and press Load routes, first.", "warn");
  return hasToken();
};

function send(path, method, headers = {}) {
  const body = $("spec").value;
  const type = body.trimStart().startsWith("{") ? "application/json" : "application/yaml";
  return admin(path, { method, type, body, headers });
}

function reset() {
  say("publish-note", "");
  $("problems").hidden = true;
  $("problems").replaceChildren();
  $("preview").hidden = true;
}

// --- which route it is ---------------------------------------------------------------------------------------------

function show(route, text, { title, facts, hint }) {
  if (opened === null) draft = $("spec").value;
  opened = route;
  before = text;
  reset();
  const kind = route?.kind ?? "new";
  $("publish-title").textContent = title;
  $("route-facts").textContent = facts;
  $("route-facts").hidden = !facts;
  $("publish-hint").textContent = hint;
  $("spec").value = text;
  $("spec").readOnly = kind === "file" || kind === "deleted";
  $("publish-buttons").hidden = $("spec").readOnly;
  $("register").hidden = kind !== "new";
  $("save").hidden = $("delete").hidden = kind !== "store";
  $("close-route").hidden = kind === "new";
  hideHistory();
}

function showNew() {
  show(null, draft, { title: "Publish a route", facts: "", hint: NEW_HINT });
  before = "";
}

/** Whether the text may be replaced: nothing was changed, or the reader agrees. */
async function mayLeave() {
  if (opened?.kind !== "store" || $("spec").value === before) return true;
  return confirmed(`Your changes to route ${opened.id} are not saved.`, "Discard them");
}

function focusTitle() {
  $("publish-title").scrollIntoView({ block: "start" });
  $("publish-title").focus({ preventScroll: true });
}

async function specOf(path) {
  const answer = await admin(path, { headers: { accept: "application/yaml" } });
  if (!answer.ok) throw new Error(problemOf(answer));
  return { text: answer.text, etag: answer.headers.get("etag") };
}

/** Opens a registered or a file's route, as it is now. */
async function load(id) {
  const [spec, answer] = await Promise.all([specOf(routeUrl(id)), admin(routeUrl(id))]);
  if (!answer.ok) throw new Error(problemOf(answer));
  const { source, file, line, status, problems, warnings } = answer.json;
  const where = source === "file" ? `Written in ${file}${line ? `, line ${line}` : ""}.` : "";
  show({ id, etag: spec.etag, kind: source }, spec.text, {
    title: source === "file" ? `Route ${id}` : `Edit route ${id}`,
    facts: [where, status === "ACTIVE" ? "" : `${status}: ${(problems ?? []).join("; ")}`].join(" ").trim(),
    hint: source === "file" ? FILE_HINT : EDIT_HINT,
  });
  listProblems([], warnings);
  if (source === "store") await showHistory(id, { rollBack, current: spec.text });
}

export async function open(id) {
  if (!await mayLeave()) return;
  try {
    await load(id);
  } catch (error) {
    say("routes-note", error.message, "bad");
    return;
  }
  focusTitle();
}

/** Opens a deleted route, with the spec that it had last. */
export async function openDeleted({ route_id: id, revision, at }) {
  if (!await mayLeave()) return;
  try {
    const text = revision ? (await specOf(routeUrl(id, `/history/${revision}`))).text : "";
    show({ id, etag: null, kind: "deleted" }, text, {
      title: `Deleted route ${id}`, facts: `Deleted ${new Date(at).toLocaleString()}.`, hint: GONE_HINT,
    });
    await showHistory(id, { rollBack, current: "" });
  } catch (error) {
    say("deleted-note", error.message, "bad");
    return;
  }
  focusTitle();
}

/** Forgets what was opened with the token that is gone. */
export function closeRoute() {
  if (opened) showNew();
}

// --- problems ------------------------------------------------------------------------------------------------------

/** Selects a line of the spec, counted from 1, and scrolls to it. */
function goTo(line) {
  const spec = $("spec");
  const lines = spec.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  spec.focus();
  spec.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
  spec.scrollTop = (line - 3) * Number.parseFloat(getComputedStyle(spec).lineHeight);
}

function problemItem(problem, kind = "") {
  const { key, reason, line } = typeof problem === "string" ? { reason: problem } : problem;
  return el(
    "li", { class: kind },
    key ? el("code", { class: "key" }, key) : null,
    reason ?? "", " ",
    line ? el("button", { type: "button", class: "small plain", onclick: () => goTo(line) }, `line ${line}`) : null,
  );
}

function listProblems(problems, warnings = []) {
  $("problems").replaceChildren(
    ...problems.map((problem) => problemItem(problem)), ...warnings.map((warning) => problemItem(warning, "warn")));
  $("problems").hidden = problems.length + warnings.length === 0;
}

// problem+json points into the spec with RFC 6901; people write keys with dots.
const keyOf = (error) => error.key ?? (error.pointer ?? "").slice(1).replaceAll("/", ".").replaceAll("~1", "/").replaceAll("~0", "~");
const problemsOf = (answer) => (answer.json?.errors ?? []).map((error) => ({ ...error, key: keyOf(error) }));

function refuse(answer) {
  const stale = answer.status === 412 ? " What you wrote is still here. Open the route again in the table to see the current spec." : "";
  say("publish-note", problemOf(answer) + stale, "bad");
  listProblems(problemsOf(answer));
}

// --- what is done with it ------------------------------------------------------------------------------------------

async function check() {
  reset();
  if (!ready()) return;
  const answer = await send(opened ? `routes/check?${new URLSearchParams({ id: opened.id })}` : "routes/check", "POST");
  if (!answer.ok || !answer.json) return refuse(answer);
  const { ok, problems = [], warnings, policy, openapi } = answer.json;
  const verdict = policy?.verdict ? ` Policy: ${policy.verdict}.` : "";
  if (!ok) {
    say("publish-note", `${problems.length === 1 ? "One thing needs" : `${problems.length} things need`} mending.${verdict}`, "bad");
    listProblems(problems, warnings);
    return;
  }
  const methods = Object.values(openapi?.paths ?? {}).flatMap((item) => Object.keys(item));
  const count = `${methods.length} ${methods.length === 1 ? "operation" : "operations"}`;
  say("publish-note", `The spec is right; it would publish ${count}.${verdict}`, "good");
  listProblems([], warnings);
  $("preview-text").textContent = JSON.stringify(openapi, null, 2);
  $("preview").hidden = !openapi;
}

/** Whether the change waits for a second person, which is told. */
function waits(answer) {
  if (answer.status !== 202) return false;
  say("publish-note", `Change ${answer.json?.change_id} waits until somebody else approves of it.`, "good");
  listProblems([], answer.json?.warnings);
  return true;
}

async function register() {
  reset();
  if (!ready()) return;
  const answer = await send("../register", "POST");
  if (!answer.ok) return refuse(answer);
  if (waits(answer)) return;
  say("publish-note", `Route ${answer.json?.route_id} is ${answer.json?.status}.`, "good");
  listProblems([], answer.json?.warnings);
  await changed();
}

async function save() {
  reset();
  if (!ready() || opened?.kind !== "store") return;
  const { id, etag } = opened;
  const answer = await send(routeUrl(id), "PUT", etag ? { "if-match": etag } : {});
  if (!answer.ok) return refuse(answer);
  if (waits(answer)) return;
  await load(id);
  say("publish-note", `Route ${id} is changed and ${answer.json?.status}.`, "good");
  listProblems([], answer.json?.warnings);
  await changed();
}

async function remove() {
  if (!ready() || opened?.kind !== "store") return;
  const { id, etag } = opened;
  if (!await confirmed(`Delete route ${id}? Its callers get 404 at once. It can be restored from Deleted routes.`, `Delete route ${id}`)) return;
  reset();
  const answer = await admin(routeUrl(id), { method: "DELETE", headers: etag ? { "if-match": etag } : {} });
  if (!answer.ok) return refuse(answer);
  if (waits(answer)) return;
  showNew();
  focusTitle();
  say("publish-note", `Route ${id} is deleted.`, "good");
  await changed();
}

async function rollBack(revision) {
  const { id, etag, kind } = opened;
  const what = kind === "deleted" ? `Publish the deleted route ${id} again, as in revision ${revision}?` : `Replace the spec of route ${id} with that of revision ${revision}?`;
  if (!await confirmed(what, `Roll back to ${revision}`)) return;
  reset();
  const headers = kind === "store" && etag ? { "if-match": etag } : {};
  const body = JSON.stringify({ revision });
  const answer = await admin(routeUrl(id, "/rollback"), { method: "POST", type: "application/json", body, headers });
  if (!answer.ok) return refuse(answer);
  if (waits(answer)) return;
  await load(id);
  focusTitle();
  say("publish-note", `Route ${id} is rolled back to revision ${revision} and ${answer.json?.status}.`, "good");
  await changed();
}

const guarded = (work) => () => work().catch((error) => say("publish-note", error.message, "bad"));

/** `whenChanged` is called after each change of a route. */
export function startEditor(whenChanged) {
  changed = whenChanged;
  $("spec").value = EXAMPLE;
  $("publish").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(event.submitter ?? $("publish"), guarded(check));
  });
  for (const [id, work] of [["register", register], ["save", save], ["delete", remove]]) {
    $(id).addEventListener("click", (event) => busy(event.currentTarget, guarded(work)));
  }
  $("close-route").addEventListener("click", async () => {
    if (await mayLeave()) {
      showNew();
      focusTitle();
    }
  });
}
