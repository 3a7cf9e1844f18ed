import { $, busy, el, say } from "./dom.js";
import { admin, hasToken, problemOf } from "./gateway.js";
import { load } from "./routes.js";

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

const ready = () => {
  if (!hasToken()) say("publish-note", "Paste a publisher token above, and press Load routes, first.", "warn");
  return hasToken();
};

function post(path) {
  const body = $("spec").value;
  const type = body.trimStart().startsWith("{") ? "application/json" : "application/yaml";
  return admin(path, { method: "POST", type, body });
}

function reset() {
  say("publish-note", "");
  $("problems").hidden = true;
  $("problems").replaceChildren();
  $("preview").hidden = true;
}

/** Selects a line of the spec, counted from 1, and scrolls to it. */
function goTo(line) {
  const spec = $("spec");
  const lines = spec.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  spec.focus();
  spec.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
  spec.scrollTop = (line - 3) * Number.parseFloat(getComputedStyle(spec).lineHeight);
}

function listProblems(problems) {
  $("problems").replaceChildren(...problems.map(({ key, reason, line }) => el(
    "li", {},
    key ? el("code", { class: "key" }, key) : null,
    reason, " ",
    line ? el("button", { type: "button", class: "small plain", onclick: () => goTo(line) }, `line ${line}`) : null,
  )));
  $("problems").hidden = problems.length === 0;
}

// problem+json points into the spec with RFC 6901; people write keys with dots.
const keyOf = (error) => error.key ?? (error.pointer ?? "").slice(1).replaceAll("/", ".").replaceAll("~1", "/").replaceAll("~0", "~");
const problemsOf = (answer) => (answer.json?.errors ?? []).map((error) => ({ ...error, key: keyOf(error) }));

function refuse(answer) {
  say("publish-note", problemOf(answer), "bad");
  listProblems(problemsOf(answer));
}

async function check() {
  reset();
  if (!ready()) return;
  const answer = await post("routes/check");
  if (!answer.ok || !answer.json) return refuse(answer);
  const { ok, problems = [], policy, openapi } = answer.json;
  const verdict = policy?.verdict ? ` Policy: ${policy.verdict}.` : "";
  if (!ok) {
    say("publish-note", `${problems.length === 1 ? "One thing needs" : `${problems.length} things need`} mending.${verdict}`, "bad");
    listProblems(problems);
    return;
  }
  const methods = Object.values(openapi?.paths ?? {}).flatMap((item) => Object.keys(item));
  const count = `${methods.length} ${methods.length === 1 ? "operation" : "operations"}`;
  say("publish-note", `The spec is right; it would publish ${count}.${verdict}`, "good");
  $("preview-text").textContent = JSON.stringify(openapi, null, 2);
  $("preview").hidden = !openapi;
}

async function register() {
  reset();
  if (!ready()) return;
  const answer = await post("../register");
  if (!answer.ok) return refuse(answer);
  say("publish-note", `Route ${answer.json?.route_id} is ${answer.json?.status}.`, "good");
  await load();
}

const guarded = (work) => () => work().catch((error) => say("publish-note", error.message, "bad"));

export function startPublish() {
  $("spec").value = EXAMPLE;
  $("publish").addEventListener("submit", (event) => {
    event.preventDefault();
    busy(event.submitter ?? $("publish"), guarded(check));
  });
  $("register").addEventListener("click", (event) => busy(event.currentTarget, guarded(register)));
}
