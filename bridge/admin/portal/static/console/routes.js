import { $, busy, el, say } from "./dom.js";
import { closeRoute, open, openDeleted } from "./editor.js";
import { admin, hasToken, problemOf, setToken } from "./gateway.js";
import { clear as forgetKeys } from "./keys.js";
import { forgetDocuments } from "./operation.js";
import { offer, pick } from "./try.js";

const SHOWN = 200; // rows; more are found through the filter
const LINE = 160; // characters of a description
let known = [];

/** Deprecation and sunset, in words. */
function ends({ deprecated, sunset }) {
  const since = deprecated?.since ?? (typeof deprecated === "string" ? deprecated : "");
  return [deprecated && `deprecated${since && ` as of ${since}`}`, sunset && `sunset ${sunset.date ?? sunset}`].filter(Boolean);
}

const words = (route) =>
  [route.route_id, route.status, route.route, route.host, route.tenant, route.transformer, route.auth, route.upstream,
    route.description, ...(route.tags ?? []), ...ends(route),
    ...(route.methods ?? []), ...(route.operations ?? []).map((one) => `${one.path} ${one.name}`)]
    .join(" ").toLowerCase();

const firstLine = (text) => {
  const [line] = text.trim().split("\n");
  return line.length > LINE ? `${line.slice(0, LINE)}…` : line;
};

function row(route) {
  const active = route.status === "ACTIVE";
  const operations = route.operations ?? [];
  const below = operations.filter((one) => one.path && one.path !== route.route);
  const marks = [
    ...ends(route).map((text) => el("span", { class: "tag warn" }, text)),
    ...(route.tags ?? []).map((text) => el("span", { class: "tag" }, text)),
  ];
  const problems = (route.problems ?? []).map((text) => el("li", { class: "problem" }, text));
  const warnings = (route.warnings ?? []).slice(0, 3).map((text) => el("li", { class: "warning" }, text));
  const shown = below.slice(0, 8).map((one) => el("li", { class: "code" }, `${one.method} ${one.path}`));
  if (below.length > 8) shown.push(el("li", {}, `and ${below.length - 8} more`));
  return el(
    "tr", {},
    el("td", {}, el("span", { class: `tag ${active ? "good" : "bad"}` }, route.status)),
    el("td", {},
      el("span", { class: "methods" }, (route.methods ?? []).join(" ") || "any"),
      el("span", { class: "route code" }, `${route.host ?? ""}${route.route}`),
      marks.length ? el("div", { class: "marks" }, ...marks) : null,
      route.description ? el("p", { class: "said" }, firstLine(route.description)) : null,
      el("ul", {}, ...problems, ...warnings, ...shown)),
    el("td", {}, route.tenant ?? "–"),
    el("td", {}, route.transformer),
    el("td", {}, route.auth),
    el("td", { class: "code" }, route.upstream),
    el("td", {}, String(route.route_id)),
    el("td", { class: "actions" },
      active && operations.length
        ? el("button", { type: "button", class: "small", "aria-label": `Try ${route.route}`, onclick: () => pick(route) }, "Try")
        : null,
      el("button", {
        type: "button", class: "small plain", "aria-label": `Open the spec of ${route.route}, route ${route.route_id}`,
        onclick: (event) => busy(event.currentTarget, () => open(route.route_id)),
      }, "Open")),
  );
}

function show() {
  const wanted = $("filter").value.trim().toLowerCase().split(/\s+/);
  const found = known.filter((route) => wanted.every((word) => words(route).includes(word)));
  $("routes").replaceChildren(...found.slice(0, SHOWN).map(row));
  const many = found.length > SHOWN ? ` The first ${SHOWN} are shown; the filter finds the others.` : "";
  say("routes-note", found.length === known.length
    ? `${known.length} ${known.length === 1 ? "route" : "routes"}.${many}`
    : `${found.length} of ${known.length} ${known.length === 1 ? "route" : "routes"}.${many}`);
}

/** Reads the table anew; without a token it only says so. */
export async function load() {
  if (!hasToken()) {
    say("routes-note", "Paste a publisher token to see the routes.", "warn");
    return;
  }
  try {
    const answer = await admin("routes");
    if (!answer.ok) throw new Error(problemOf(answer));
    known = answer.json?.routes ?? [];
  } catch (error) {
    known = [];
    $("routes-box").hidden = true;
    offer(known);
    say("routes-note", error.message, "bad");
    return;
  }
  $("routes-box").hidden = false;
  offer(known);
  show();
  if (!$("deleted-box").hidden) await showDeleted();
}

function deletedItem(route) {
  const { route_id: id, route: path, host, tenant, by, at, revision } = route;
  return el(
    "li", {},
    el("span", {}, el("span", { class: "route code" }, path ? `${host ?? ""}${path}` : "(its spec is kept no longer)"),
      ` route ${id}${tenant ? ` of ${tenant}` : ""}, deleted by ${by || "somebody"}, `,
      el("time", { datetime: at }, new Date(at).toLocaleString())),
    revision ? el("button", {
      type: "button", class: "small plain", "aria-label": `Open the deleted route ${id}`,
      onclick: (event) => busy(event.currentTarget, () => openDeleted(route)),
    }, "Open") : null,
  );
}

async function showDeleted() {
  try {
    const answer = await admin("routes/deleted");
    if (!answer.ok) throw new Error(problemOf(answer));
    const gone = answer.json?.routes ?? [];
    $("deleted").replaceChildren(...gone.slice(0, SHOWN).map(deletedItem));
    say("deleted-note", gone.length ? "" : "There are none.");
  } catch (error) {
    $("deleted").replaceChildren();
    say("deleted-note", error.message, "bad");
  }
}

function toggleDeleted(isShown) {
  $("deleted-box").hidden = !isShown;
  $("show-deleted").setAttribute("aria-expanded", String(isShown));
}

export function startRoutes() {
  $("filter").addEventListener("input", show);
  $("show-deleted").addEventListener("click", (event) => {
    toggleDeleted($("deleted-box").hidden);
    if (!$("deleted-box").hidden) busy(event.currentTarget, showDeleted);
  });
  $("access").addEventListener("submit", (event) => {
    event.preventDefault();
    setToken($("token").value.trim());
    $("forget").hidden = !hasToken();
    busy(event.submitter ?? $("access"), load);
  });
  $("forget").addEventListener("click", () => {
    setToken("");
    known = [];
    $("token").value = "";
    $("forget").hidden = true;
    $("routes-box").hidden = true;
    $("routes").replaceChildren();
    $("deleted").replaceChildren();
    toggleDeleted(false);
    closeRoute();
    forgetDocuments();
    forgetKeys();
    offer(known);
    say("routes-note", "The token is forgotten.");
    $("token").focus();
  });
}
