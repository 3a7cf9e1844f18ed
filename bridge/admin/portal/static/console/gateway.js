// Calls to the gateway. The publisher's token lives in this module's memory and nowhere else.

const here = new URL(".", window.location.href); // …/-/
export const root = new URL("..", here); // where routes begin

let token = "";
export const setToken = (value) => { token = value; };
export const hasToken = () => token !== "";

/** One call: {status, ok, headers, text, ms}. Throws an Error with a sentence when there is no answer at all. */
export async function send(url, { method = "GET", headers = {}, body } = {}) {
  const began = performance.now();
  let response;
  try {
    response = await fetch(url, { method, headers, body, cache: "no-store", credentials: "omit", redirect: "manual" });
  } catch (error) {
    throw new Error(`The gateway gave no answer (${error.message}).`);
  }
  if (response.type === "opaqueredirect") throw new Error("The answer is a redirect, which a browser does not show to a page.");
  const text = await response.text();
  return { status: response.status, ok: response.ok, headers: response.headers, text, ms: performance.now() - began };
}

/** The path of a route in the admin API, and of what is `below` it. */
export const routeUrl = (id, below = "") => `routes/${encodeURIComponent(id)}${below}`;

/** The path of an API key in the admin API, and of what is `below` it. */
export const keyUrl = (id, below = "") => `keys/${encodeURIComponent(id)}${below}`;

/** A call to the admin API with the publisher's token; `json` is the parsed answer, or null. */
export async function admin(path, { method = "GET", type, body, headers: more = {} } = {}) {
  const headers = { accept: "application/json", ...more };
  if (token) headers.authorization = `Bearer ${token}`;
  if (type) headers["content-type"] = type;
  const answer = await send(new URL(path, here), { method, headers, body });
  try {
    answer.json = JSON.parse(answer.text);
  } catch {
    answer.json = null;
  }
  return answer;
}

/** What a problem+json answer says, as a sentence. */
export function problemOf(answer) {
  const problem = answer.json ?? {};
  const what = problem.detail || problem.title || "The gateway gave no reason.";
  return `${answer.status}: ${what}${problem.trace_id ? ` (trace ${problem.trace_id})` : ""}`;
}
