// A question before something is lost. `showModal` keeps the focus inside and gives it back; Escape is a no.

import { $ } from "./dom.js";

/** Whether the reader agrees to `question`; `yes` is what the button that agrees says. */
export function confirmed(question, yes) {
  const dialog = $("confirm");
  $("confirm-text").textContent = question;
  $("confirm-yes").textContent = yes;
  return new Promise((resolve) => {
    let answer = false;
    const agree = () => { answer = true; dialog.close(); };
    const refuse = () => dialog.close();
    $("confirm-yes").addEventListener("click", agree);
    $("confirm-no").addEventListener("click", refuse);
    dialog.addEventListener("close", () => {
      $("confirm-yes").removeEventListener("click", agree);
      $("confirm-no").removeEventListener("click", refuse);
      resolve(answer);
    }, { once: true });
    dialog.showModal();
    $("confirm-no").focus();
  });
}
