// The history of the route that is open: who changed it when, the spec of each revision, and the way back.

import { diff } from "./diff.js";
import { $, el, say } from "./dom.js";
import { admin, problemOf, routeUrl } from "./gateway.js";

const DONE = { create: "registered", replace: "changed", rollback: "rolled back", delete: "deleted" };

export function hideHistory() {
  $("history-box").hidden = true;
  $("revision-box").hidden = true;
  $("history").replaceChildren();
}

const KINDS = { "-": "bad", "+": "good", " ": "" };

async function view(id, revision, current) {
  const answer = await admin(routeUrl(id, `/history/${revision}`), { headers: { accept: "application/yaml" } });
  if (!answer.ok) return say("publish-note", problemOf(answer), "bad");
  const lines = current && current !== answer.text ? diff(current, answer.text) : null;
  $("revision-title").textContent = `Revision ${revision}${lines ? ": what a roll back changes" : current === answer.text ? ": the current spec" : ""}`;
  if (lines) $("revision-text").replaceChildren(...lines.map(([sign, line]) => el("span", { class: KINDS[sign] }, `${sign} ${line}\n`)));
  else $("revision-text").textContent = answer.text;
  $("revision-box").hidden = false;
  $("revision-title").focus();
}

function item(id, one, isCurrent, { rollBack, current }) {
  const { revision, action, by, at, restores } = one;
  const what = `${DONE[action] ?? action}${restores ? ` to ${restores}` : ""}`;
  const has = action !== "delete";
  const guarded = (work) => () => work().catch((error) => say("publish-note", error.message, "bad"));
  return el(
    "li", {},
    el("span", {}, el("strong", {}, String(revision)), ` ${what} by ${by || "somebody"}, `,
      el("time", { datetime: at }, new Date(at).toLocaleString()), isCurrent ? " (current)" : ""),
    el("span", { class: "actions" }, has ? el("button", { type: "button", class: "small plain", "aria-label": `View revision ${revision}`, onclick: guarded(() => view(id, revision, current)) }, "View") : null,
    has && !isCurrent
      ? el("button", { type: "button", class: "small", "aria-label": `Roll back to revision ${revision}`, onclick: guarded(() => rollBack(revision)) }, "Roll back")
      : null),
  );
}

/** Lists the revisions of the route `id`. `rollBack` is called with the number of the one to go back to; `current` is the
 * spec that there is, with which a revision is compared, or "" for a deleted route. */
export async function showHistory(id, options) {
  const answer = await admin(routeUrl(id, "/history"));
  if (!answer.ok) throw new Error(problemOf(answer));
  const revisions = answer.json?.revisions ?? [];
  $("history").replaceChildren(...revisions.map((one, at) => item(id, one, at === 0 && one.action !== "delete", options)));
  $("history-box").hidden = false;
}
