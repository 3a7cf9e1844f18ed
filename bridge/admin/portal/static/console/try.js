import { $, busy, el, say } from "./dom.js";
import { root, send } from "./gateway.js";
import { pretty } from "./pretty.js";

const PARAMETER = /\{([^{}*]+)(\*?)\}/g;
const BODILESS = ["GET", "HEAD"];
const SHOWN = 200_000; // characters of an answer
const FIELDS = ["content-type", "x-trace-id", "ratelimit", "ratelimit-policy", "retry-after"];

let operations = []; // {method, path, label, host}

/** Fills the list of operations from the route table. */
export function offer(routes) {
  operations = routes.filter((route) => route.status === "ACTIVE").flatMap((route) =>
    (route.operations ?? []).map((one) => {
      // An operation's path may be given whole or below its route.
      const path = one.path.startsWith(route.route) ? one.path : route.route + one.path;
      const method = one.method === "*" ? route.methods?.[0] ?? "GET" : one.method;
      return { method, path, host: route.host, id: route.route_id, label: `${one.method} ${route.host ?? ""}${path}` };
    }));
  $("operation").replaceChildren(
    el("option", { value: "" }, operations.length ? "Choose, or write the call yourself" : "Load the routes first, or write the call yourself"),
    ...operations.map((one, at) => el("option", { value: at }, one.label)));
}

/** Puts a route's first operation into the form. */
export function pick(route) {
  $("operation").value = String(operations.findIndex((one) => one.id === route.route_id));
  choose();
  const title = $("try-title");
  title.scrollIntoView({ block: "start" });
  title.focus({ preventScroll: true });
}

function choose() {
  const operation = operations[Number($("operation").value || -1)];
  if (!operation) return;
  $("method").value = operation.method;
  $("path").value = operation.path;
  const elsewhere = operation.host && operation.host !== window.location.hostname;
  say("try-note", elsewhere ? `This route answers at the host ${operation.host} only; open the console there to call it.` : "", "warn");
  ask();
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

function target() {
  const values = [...$("parameters").querySelectorAll("input")].map((input) => input.value);
  let at = 0;
  const path = $("path").value.replace(PARAMETER, (_, name, rest) => {
    const value = values[at++] ?? "";
    return rest ? value.split("/").map(encodeURIComponent).join("/") : encodeURIComponent(value);
  });
  const query = $("query").value.replace(/^\?/, "");
  const url = new URL(root); // its parts are set one by one, so that no path can name another host
  url.pathname = root.pathname.replace(/\/$/, "") + path;
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

async function call() {
  const method = $("method").value;
  const headers = fields();
  const body = BODILESS.includes(method) || !$("body").value ? undefined : $("body").value;
  if (body && !headers.has("content-type")) headers.set("content-type", "application/json");
  $("answer").hidden = true;
  const answer = await send(target(), { method, headers, body });
  say("try-note", `${answer.status} in ${Math.round(answer.ms)} ms`, answer.ok ? "good" : "bad");
  $("answer-headers").replaceChildren(...FIELDS.filter((name) => answer.headers.has(name)).flatMap((name) =>
    [el("dt", {}, name), el("dd", { class: "code" }, answer.headers.get(name))]));
  const text = pretty(answer.text);
  $("answer-body").textContent = text.length > SHOWN ? `${text.slice(0, SHOWN)}\n… ${text.length - SHOWN} more characters` : text;
  $("answer-body").hidden = text === "";
  $("answer").hidden = false;
}

export function startTry() {
  $("operation").addEventListener("change", choose);
  $("path").addEventListener("input", ask);
  $("method").addEventListener("change", ask);
  $("try").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(event.submitter ?? $("try"), () => call().catch((error) => say("try-note", error.message, "bad")));
  });
}
