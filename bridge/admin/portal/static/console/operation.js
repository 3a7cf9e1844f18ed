// What the OpenAPI document says of an operation: its example, its parameters, the credentials that it wants.

import { admin, routeUrl } from "./gateway.js";

const LOCAL = "urn:bridge:local"; // the issuer whose tokens `hms-bridge token` makes
const KINDS = {
  none: "no credentials", JWT: "a bearer token (JWT)", api_key: "an API key", oauth2: "a bearer token (OAuth 2.0)", mtls: "a client certificate",
};
const KEPT = 50; // documents

const documents = new Map(); // by route and version

/** OpenAPI has no `{name*}`, and one spelling for paths that differ in names alone. */
const shape = (path) => path.replace(/\{[^{}]*\}/g, "{}");

async function documentOf(id, etag) {
  const key = `${id} ${etag}`;
  if (!documents.has(key)) {
    if (documents.size >= KEPT) documents.delete(documents.keys().next().value);
    documents.set(key, admin(routeUrl(id, "/openapi")).then((answer) => (answer.ok ? answer.json : null), () => null));
  }
  return documents.get(key);
}

const exampleOf = ({ example, examples, schema }) =>
  example ?? Object.values(examples ?? {})[0]?.value ?? schema?.example ?? schema?.const ?? schema?.default ?? schema?.enum?.[0];

/** {access, body, type, parameters: [{name, in, required, example, kind}]} of an operation; null if it isn't described. */
export async function describe({ id, etag, method, path }) {
  const document = await documentOf(id, etag);
  const found = Object.entries(document?.paths ?? {}).find(([template]) => shape(template) === shape(path));
  const entry = found?.[1][method.toLowerCase()];
  if (!entry) return null;
  const [type, media] = Object.entries(entry.requestBody?.content ?? {})[0] ?? [];
  const body = media && exampleOf(media);
  return {
    access: entry["x-bridge"]?.access ?? [],
    end: endText(entry["x-bridge"] ?? {}),
    type,
    body: body === undefined ? undefined : typeof body === "string" && type !== "application/json" ? body : JSON.stringify(body, null, 2),
    parameters: (entry.parameters ?? []).map((one) => ({
      name: one.name, in: one.in, required: Boolean(one.required), example: exampleOf(one), kind: one.schema?.format ?? one.schema?.type,
    })),
  };
}

export function forgetDocuments() {
  documents.clear();
}

const list = (names, word) => (names.length > 1 ? `${names.slice(0, -1).join(", ")} ${word} ${names.at(-1)}` : names[0]);

function placeText(place, header) {
  if (place === "header") return `the header ${header ?? "Authorization"}`;
  const [[kind, name]] = Object.entries(place);
  return `the ${kind === "cookie" ? "cookie" : "query parameter"} ${name}`;
}

function kindText({ type, header, from, issuer, audiences, roles, scopes }) {
  const places = from ?? (header ? ["header"] : []);
  const needs = [roles && `the role ${list(roles, "or")}`, scopes && `the ${scopes.length > 1 ? "scopes" : "scope"} ${list(scopes, "and")}`];
  const needed = needs.filter(Boolean).join(" and ");
  return (KINDS[type] ?? type) + (places.length ? ` in ${list(places.map((place) => placeText(place, header)), "or")}` : "")
    + (issuer ? ` from ${issuer}` : "") + (audiences ? ` for the audience ${list(audiences, "or")}` : "") + (needed ? ` with ${needed}` : "");
}

/** Deprecation and sunset, as sentences; "" where there are none. */
const endText = ({ deprecated, sunset }) => [
  deprecated && `Deprecated${deprecated.since ? ` as of ${deprecated.since}` : ""}.`,
  sunset && `It may be gone after ${sunset.date}.`,
  ...[...new Set([deprecated?.link, sunset?.link])].map((link) => link && `See ${link}`),
].filter(Boolean).join(" ");

/** What a caller needs, as a sentence. */
export const accessText = (access) =>
  (access.length ? `The caller needs ${access.map(kindText).join(", or ")}.` : "Open to all: no credentials are needed.");

/** `text` as one word of a POSIX shell. */
export const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** The command that makes a token for the operation; "" where the local issuer can't make one. */
export function tokenCommand(access) {
  const jwt = access.find((kind) => kind.type === "JWT" && [undefined, LOCAL].includes(kind.issuer));
  if (!jwt) return "";
  const words = ["hms-bridge", "token"];
  if (jwt.audiences) words.push("--audience", quoted(jwt.audiences[0]));
  if (jwt.roles) words.push("--role", quoted(jwt.roles[0]));
  for (const scope of jwt.scopes ?? []) words.push("--scope", quoted(scope));
  return words.join(" ");
}
