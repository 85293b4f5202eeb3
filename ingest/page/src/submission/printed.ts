// The output of a program: a block of text that may still grow.

import { fill, h } from "../dom";
import { bytes } from "../text";
import type { Places } from "./places";

const SHOWN_CHARACTERS = 100_000;

export class Printed {
  readonly element: HTMLElement;
  readonly #pre: HTMLPreElement;
  readonly #note = h("p", { class: "hint" });
  readonly #more = h("button", {
    type: "button",
    class: "small",
    hidden: true,
    onclick: () => this.#showAll(),
  });
  #text = "";
  #drawn = true;
  #all = false;

  constructor(
    title: string,
    label: string,
    private readonly places: Places,
  ) {
    this.#pre = h("pre", { class: "printed", tabindex: 0, role: "group", "aria-label": label });
    this.element = h(
      "div",
      { class: "block", hidden: true },
      h("h3", {}, title),
      this.#pre,
      this.#note,
      this.#more,
    );
  }

  get text(): string {
    return this.#text;
  }

  append(text: string): void {
    this.set(this.#text + text);
  }

  /** Replace the whole text; `note` describes missing parts. */
  set(text: string, note = ""): void {
    this.#note.textContent = note;
    this.#text = text;
    this.element.hidden = text === "" && note === "";
    if (!this.#drawn) return;
    this.#drawn = false;
    requestAnimationFrame(() => this.#draw());
  }

  #draw(): void {
    this.#drawn = true;
    const pre = this.#pre;
    const atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 4;
    const cut = !this.#all && this.#text.length > SHOWN_CHARACTERS;
    fill(pre, ...this.places.linked(cut ? this.#text.slice(0, SHOWN_CHARACTERS) : this.#text));
    pre.hidden = this.#text === "";
    this.#more.hidden = !cut;
    this.#more.textContent = `Show all of it, about ${bytes(this.#text.length)}`;
    if (atEnd && !cut) pre.scrollTop = pre.scrollHeight;
  }

  #showAll(): void {
    this.#all = true;
    this.#draw();
  }
}
