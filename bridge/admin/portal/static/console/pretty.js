// JSON with line breaks. The text is moved apart, not parsed and written anew: numbers keep every digit they came with.

const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g;

export function pretty(text) {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  let out = "";
  let depth = 0;
  const tokens = text.match(TOKEN) ?? [];
  tokens.forEach((token, at) => {
    const closes = token === "}" || token === "]";
    const opened = "[{".includes(tokens[at - 1] ?? " ");
    if (closes) depth -= 1;
    if (closes ? !opened : opened) out += `\n${"  ".repeat(depth)}`;
    out += token;
    if (token === "{" || token === "[") depth += 1;
    else if (token === ",") out += `\n${"  ".repeat(depth)}`;
    else if (token === ":") out += " ";
  });
  return out;
}
