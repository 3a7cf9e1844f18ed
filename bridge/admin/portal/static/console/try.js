import { curl } from "./curl.js";
import { $, busy, copied, el, say } from "./dom.js";
import { root, send } from "./gateway.js";
import { accessText, describe, tokenCommand } from "./operation.js";
import { pretty } from "./pretty.js";

const PARAMETER = /\{([^{}*]+)(\*?)\}/g;
const BODILESS = ["GET", "HEAD"];
const SHOWN = 200_000; // characters of an answer
const NAMED = 12; // query parameters
const FIELDS = ["content-type", "x-trace-id", "ratelimit", "ratelimit-policy", "retry-after", "deprecation", "sunset", "link", "location"];

const ON_ADMIN_LISTENER = document.body.dataset.listener === "admin"; // which serves no routes

let operations = []; // {method, path, label, host, id, etag}
let chosen = null; // the operation that the form is filled for
let turn = 0; // counts calls and choices: an answer that comes after another choice is not shown
let access = null; // what it wants of its callers; null where that isn't known
let end = ""; // its deprecation and sunset, in words

/** Fills the list of operations from the route table. */
export function offer(routes) {
  operations = routes.filter((route) => route.status === "ACTIVE").flatMap((route) =>
    (route.operations ?? []).map((one) => {
      // An operation's path may be given whole or below its route.
      const path = one.path.startsWith(route.route) ? one.path : route.route + one.path;
      const method = one.method === "*" ? route.methods?.[0] ?? "GET" : one.method;
      return { method, path, host: route.host, id: route.route_id, etag: route.etag, label: `${one.method} ${route.host ?? ""}${path}` };
    }));
  const label = $("operation").selectedOptions[0]?.value ? chosen?.label : "";
  $("operation").replaceChildren(
    el("option", { value: "" }, operations.length ? "Choose, or write the call yourself" : "Load the routes first, or write the call yourself"),
    ...operations.map((one, at) => el("option", { value: at }, one.label)));
  const at = operations.findIndex((one) => one.label === label);
  if (at >= 0) keep(at);
  else if (label) choose();
}

/** What is being tried stays chosen when the table is read anew; what it wants of its callers may have changed. */
async function keep(at) {
  const operation = operations[at];
  $("operation").value = String(at);
  const isChanged = operation.etag !== chosen.etag;
  chosen = operation;
  if (!isChanged) return;
  const description = await describe(operation);
  if (chosen !== operation) return;
  know(description);
}

/** Puts a route's first operation into the form. */
export function pick(route) {
  $("operation").value = String(operations.findIndex((one) => one.id === route.route_id));
  choose();
  const title = $("try-title");
  title.scrollIntoView({ block: "start" });
  title.focus({ preventScroll: true });
}

/** What was answered to another call. */
function clearAnswer() {
  say("try-note", "");
  $("answer").hidden = true;
  $("answer-body").textContent = "";
  $("answer-headers").replaceChildren();
  listErrors([]);
  $("curl").hidden = true;
}

/** Takes over what the contract says of the chosen operation; null where that isn't known. */
function know(description) {
  access = description?.access ?? null;
  end = description?.end ?? "";
  showAccess();
}

function showAccess() {
  $("access-box").hidden = access === null;
  $("end-text").textContent = end;
  $("end-text").hidden = !end;
  $("access-text").textContent = access === null ? "" : accessText(access);
  const command = tokenCommand(access ?? []);
  $("access-command").textContent = command;
  $("access-command-box").hidden = !command;
}

async function choose() {
  turn += 1;
  clearAnswer();
  chosen = operations[Number($("operation").value || -1)] ?? null;
  know(null);
  $("body-hint").hidden = $("query-hint").hidden = true;
  if (!chosen) return;
  $("method").value = chosen.method;
  $("path").value = chosen.path;
  $("query").value = "";
  $("body").value = "";
  const elsewhere = chosen.host && chosen.host !== window.location.hostname;
  say("try-note", elsewhere ? `This route answers at the host ${chosen.host} only; open the console there to call it.` : "", "warn");
  ask();
  const operation = chosen;
  const description = await describe(operation);
  if (chosen === operation && description) fill(description);
}

/** Puts the contract's examples into the form, where nobody has written anything meanwhile. */
function fill(description) {
  know(description);
  const query = description.parameters.filter((one) => one.in === "query");
  for (const input of $("parameters").querySelectorAll("input")) {
    const parameter = description.parameters.find((one) => one.in === "path" && one.name === input.dataset.name);
    if (!input.value && parameter?.example !== undefined) input.value = String(parameter.example);
    if (parameter?.kind) input.placeholder = String(parameter.kind);
  }
  if (!$("query").value) {
    const needed = query.filter((one) => one.required).map((one) => [one.name, String(one.example ?? "")]);
    $("query").value = new URLSearchParams(needed).toString();
  }
  $("query-hint").textContent = `Declared: ${query.slice(0, NAMED).map((one) => one.name).join(", ")}${query.length > NAMED ? `, and ${query.length - NAMED} more` : ""}.`;
  $("query-hint").hidden = query.length === 0;
  if (!$("body").value && description.body !== undefined) {
    $("body").value = description.body;
    $("body-hint").textContent = "An example from the contract; change it as you need.";
    $("body-hint").hidden = false;
  }
}

/** An input for each parameter of the path; what was typed is kept where the name is the same. */
function ask() {
  const before = new Map([...$("parameters").querySelectorAll("input")].map((input) => [input.dataset.name, input.value]));
  $("parameters").replaceChildren(...[...$("path").value.matchAll(PARAMETER)].flatMap(([, name, rest], at) => {
    const input = el("input", { id: `parameter-${at}`, type: "text", class: "code", spellcheck: "false", required: "", "data-name": name });
    input.value = before.get(name) ?? "";
    return [el("label", { for: input.id }, rest ? `${name} (may hold slashes)` : name), input];
  }));
  $("body-box").hidden = BODILESS.includes($("method").value);
}

/** Where routes begin: on the admin listener, what the reader has written. */
function address() {
  if (!ON_ADMIN_LISTENER) return root;
  try {
    return new URL($("address").value);
  } catch {
    throw new Error("Write the address of the routes, such as that of the gateway's own port.");
  }
}

function target() {
  const values = [...$("parameters").querySelectorAll("input")].map((input) => input.value);
  let at = 0;
  const path = $("path").value.replace(PARAMETER, (_, name, rest) => {
    const value = values[at++] ?? "";
    return rest ? value.split("/").map(encodeURIComponent).join("/") : encodeURIComponent(value);
  });
  const query = $("query").value.replace(/^\?/, "");
  const base = address();
  const url = new URL(base); // its parts are set one by one, so that no path can name another host
  url.pathname = base.pathname.replace(/\/$/, "") + path;
  url.search = query;
  return url;
}

function fields() {
  const headers = new Headers();
  for (const line of $("headers").value.split("\n").filter((text) => text.trim())) {
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error(`“${line}” is no header; write Name: value.`);
    headers.append(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
  }
  const token = $("call-token").value.trim();
  if (token) headers.set("authorization", `Bearer ${token}`);
  return headers;
}

function request() {
  const method = $("method").value;
  const headers = fields();
  const body = BODILESS.includes(method) || !$("body").value ? undefined : $("body").value;
  if (body && !headers.has("content-type")) headers.set("content-type", "application/json");
  return { url: target(), method, headers, body };
}

function listErrors(errors) {
  $("answer-errors").replaceChildren(...errors.map(({ pointer, parameter, reason }) => el(
    "li", {}, parameter ?? pointer ? el("code", { class: "key" }, parameter ?? (pointer || "the whole body")) : null, reason ?? "")));
  $("answer-errors").hidden = errors.length === 0;
}

/** A problem+json answer as {detail, errors}; empty for any other. */
function problemIn(answer) {
  if (!(answer.headers.get("content-type") ?? "").startsWith("application/problem+json")) return { detail: "", errors: [] };
  try {
    const { detail, errors } = JSON.parse(answer.text);
    return {
      detail: typeof detail === "string" ? `: ${detail}` : "",
      errors: Array.isArray(errors) ? errors.filter((error) => error && typeof error === "object") : [],
    };
  } catch {
    return { detail: "", errors: [] };
  }
}

/** What to do about a refusal: the credentials that this operation wants, and how to get them. */
function advice(status) {
  if (![401, 403].includes(status) || !access?.length) return "";
  const command = tokenCommand(access);
  return ` ${accessText(access)}${command ? ` In the gateway's home: ${command}` : ""}`;
}

async function call() {
  const { url, ...options } = request();
  clearAnswer();
  turn += 1;
  const mine = turn;
  const answer = await send(url, options);
  if (mine !== turn) return;
  const { detail, errors } = problemIn(answer);
  say("try-note", `${answer.status} in ${Math.round(answer.ms)} ms${detail}${advice(answer.status)}`, answer.ok ? "good" : "bad");
  listErrors(errors);
  $("answer-headers").replaceChildren(...FIELDS.filter((name) => answer.headers.has(name)).flatMap((name) =>
    [el("dt", {}, name), el("dd", { class: "code" }, answer.headers.get(name))]));
  const text = pretty(answer.text);
  $("answer-body").textContent = text.length > SHOWN ? `${text.slice(0, SHOWN)}\n… ${text.length - SHOWN} more characters` : text;
  $("answer-body").hidden = text === "";
  $("answer").hidden = false;
}

async function showCurl() {
  const command = curl(request());
  $("curl").textContent = command;
  $("curl").hidden = false;
  say("try-note", await copied(command) ? "The command is in the clipboard." : "The command stands below the form; select and copy it.", "good");
}

const guarded = (work) => () => work().catch((error) => say("try-note", error.message, "bad"));

export function startTry() {
  $("address-box").hidden = !ON_ADMIN_LISTENER;
  $("send").hidden = ON_ADMIN_LISTENER;
  $("operation").addEventListener("change", choose);
  $("path").addEventListener("input", ask);
  $("method").addEventListener("change", ask);
  $("copy-curl").addEventListener("click", (event) => {
    if ($("try").reportValidity()) busy(event.currentTarget, guarded(showCurl));
  });
  $("copy-command").addEventListener("click", async () => {
    const done = await copied($("access-command").textContent);
    say("try-note", done ? "The command is in the clipboard." : "The browser lets no page copy here; select the command and copy it.", done ? "good" : "warn");
  });
  $("try").addEventListener("submit", (event) => {
    event.preventDefault();
    if (ON_ADMIN_LISTENER) return;
    busy(event.submitter ?? $("try"), guarded(call));
  });
}
