// The API key: the page asks for it when the server requires one, and keeps it for this tab only.

import { h, uniqueId } from "./dom";

const STORED = "envicutor.key";

export function key(): string | null {
  return sessionStorage.getItem(STORED);
}

let given: () => void = () => undefined;

/** Call `listener` after the user has given a key. */
export function onKey(listener: () => void): void {
  given = listener;
}

const forget = document.querySelector<HTMLButtonElement>("#forget-key");

function keep(value: string | null): void {
  if (value === null) sessionStorage.removeItem(STORED);
  else sessionStorage.setItem(STORED, value);
  if (forget !== null) forget.hidden = value === null;
}

if (forget !== null) {
  forget.hidden = key() === null;
  forget.addEventListener("click", () => {
    keep(null);
    location.reload();
  });
}

let asking: Promise<boolean> | null = null;

/** Ask for a key in one dialog for all callers; return whether there is another key than `refused` now. */
export function askForKey(refused: string | null): Promise<boolean> {
  if (key() !== refused) return Promise.resolve(true);
  asking ??= dialog(refused !== null).finally(() => {
    asking = null;
  });
  return asking;
}

function dialog(wasRefused: boolean): Promise<boolean> {
  const input = h("input", {
    id: uniqueId("key"),
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-invalid": wasRefused ? "true" : null,
  });
  const title = h("h2", { id: uniqueId("title") }, "This server requires an API key");
  const form = h(
    "form",
    { method: "dialog" },
    title,
    wasRefused &&
      h("p", { class: "error", role: "alert" }, "The key was refused: it is wrong, expired or revoked."),
    h("div", { class: "field" }, h("label", { for: input.id }, "API key"), input),
    h("p", { class: "hint" }, "Kept until this tab is closed, and sent to this server only."),
    h(
      "div",
      { class: "row end" },
      h("button", { type: "button", class: "quiet", onclick: () => box.close() }, "Cancel"),
      h("button", { class: "primary", value: "use" }, "Use this key"),
    ),
  );
  const box = h("dialog", { "aria-labelledby": title.id }, form);
  document.body.append(box);
  return new Promise((resolve) => {
    box.addEventListener("close", () => {
      const entered = box.returnValue === "use" ? input.value.trim() : "";
      if (entered !== "") keep(entered);
      else if (wasRefused) keep(null);
      box.remove();
      resolve(entered !== "");
      if (entered !== "") given();
    });
    box.showModal();
    input.focus();
  });
}
