import { $ } from "./dom.js";
import { admin } from "./gateway.js";

const EVERY = 10_000; // ms

async function look() {
  const pill = $("health");
  let text;
  let kind;
  try {
    const { status, json } = await admin("health/ready");
    const routes = json?.routes;
    const count = typeof routes === "number" ? ` · ${routes} ${routes === 1 ? "route" : "routes"}` : "";
    const broken = json?.broken ? ` · ${json.broken} broken` : "";
    text = (status === 200 ? "Ready" : `Not ready (${json?.status ?? status})`) + count + broken;
    kind = status !== 200 ? "bad" : broken ? "warn" : "good";
  } catch {
    text = "No answer";
    kind = "bad";
  }
  pill.className = `pill ${kind}`;
  if (pill.textContent !== text) pill.textContent = text; // a reader announces changes only
}

export function watchHealth() {
  look();
  setInterval(() => { if (!document.hidden) look(); }, EVERY);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
}
