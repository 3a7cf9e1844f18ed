import { $, busy, el, say } from "./dom.js";
import { admin, hasToken, problemOf, setToken } from "./gateway.js";
import { offer, pick } from "./try.js";

const SHOWN = 200; // rows; more are found through the filter
let known = [];

const words = (route) =>
  [route.route_id, route.status, route.route, route.host, route.tenant, route.transformer, route.auth, route.upstream,
    ...(route.methods ?? []), ...(route.operations ?? []).map((one) => `${one.path} ${one.name}`)]
    .join(" ").toLowerCase();

function row(route) {
  const active = route.status === "ACTIVE";
  const operations = route.operations ?? [];
  const below = operations.filter((one) => one.path && one.path !== route.route);
  const problems = (route.problems ?? []).map((text) => el("li", { class: "problem" }, text));
  const shown = below.slice(0, 8).map((one) => el("li", { class: "code" }, `${one.method} ${one.path}`));
  if (below.length > 8) shown.push(el("li", {}, `and ${below.length - 8} more`));
  return el(
    "tr", {},
    el("td", {}, el("span", { class: `tag ${active ? "good" : "bad"}` }, route.status)),
    el("td", {},
      el("span", { class: "methods" }, (route.methods ?? []).join(" ") || "any"),
      el("span", { class: "route code" }, `${route.host ?? ""}${route.route}`),
      el("ul", {}, ...problems, ...shown)),
    el("td", {}, route.tenant ?? "–"),
    el("td", {}, route.transformer),
    el("td", {}, route.auth),
    el("td", { class: "code" }, route.upstream),
    el("td", {}, String(route.route_id)),
    el("td", {}, active && operations.length
      ? el("button", { type: "button", class: "small", "aria-label": `Try ${route.route}`, onclick: () => pick(route) }, "Try")
      : null),
  );
}

function show() {
  const wanted = $("filter").value.trim().toLowerCase().split(/\s+/);
  const found = known.filter((route) => wanted.every((word) => words(route).includes(word)));
  $("routes").replaceChildren(...found.slice(0, SHOWN).map(row));
  const many = found.length > SHOWN ? ` The first ${SHOWN} are shown; the filter finds the others.` : "";
  say("routes-note", found.length === known.length
    ? `${known.length} ${known.length === 1 ? "route" : "routes"}.${many}`
    : `${found.length} of ${known.length} routes.${many}`);
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
}

export function startRoutes() {
  $("filter").addEventListener("input", show);
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
    offer(known);
    say("routes-note", "The token is forgotten.");
    $("token").focus();
  });
}
