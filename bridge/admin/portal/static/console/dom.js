// The page is changed through these alone. Data only ever becomes text nodes and attributes, never markup.

export const $ = (id) => document.getElementById(id);

/** An element with attributes (`on…` are listeners) and children (strings become text). */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A sentence in one of the page's status regions; `kind` is good, bad, warn or "". No text hides it. */
export function say(id, text, kind = "") {
  const note = $(id);
  note.className = `note ${kind}`.trim();
  note.textContent = text;
  note.hidden = !text;
}

/** Runs `work` while `button` says that it is busy; a second press meanwhile does nothing. */
export async function busy(button, work) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } finally {
    button.removeAttribute("aria-busy");
  }
}

/** Puts `text` into the clipboard; false where the browser doesn't allow that, as on plain http. */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
