// A call as a curl command that a POSIX shell takes as it is.

import { quoted } from "./operation.js";

export function curl({ url, method, headers, body }) {
  const words = ["curl", "-sS", "-g"]; // -g: brackets in a query are no ranges
  if (method === "HEAD") words.push("-I");
  else if (method !== "GET" || body !== undefined) words.push("-X", method);
  words.push(quoted(String(url)));
  const lines = [words.join(" ")];
  for (const [name, value] of headers) lines.push(`-H ${quoted(value ? `${name}: ${value}` : `${name};`)}`);
  if (body !== undefined) lines.push(`--data-raw ${quoted(body)}`);
  return lines.join(" \\\n  ");
}
