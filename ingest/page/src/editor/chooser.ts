// The choosers of the toolbar: a language, or an example. Each is the beginning of a draft.

import { getLanguages } from "../api";
import { fill, h } from "../dom";
import { onKey } from "../key";
import type { Language } from "../model";
import { type Draft, draftOf } from "./draft";
import { EXAMPLES } from "./examples";
import { draftOfLanguage } from "./presets";

export class Chooser {
  readonly element: HTMLElement;
  readonly #language: HTMLSelectElement;
  readonly #languageLabel = h(
    "label",
    { for: "language", class: "visually-hidden", hidden: true },
    "Language",
  );
  readonly #example: HTMLSelectElement;
  #languages: Language[] = [];
  #shown: string | null = null;

  /** `chosen` receives the new draft and its title. */
  constructor(private readonly chosen: (draft: Draft, title: string) => void) {
    this.#language = h("select", { id: "language", hidden: true, onchange: () => this.#chooseLanguage() });
    this.#example = h(
      "select",
      { id: "examples", onchange: () => this.#chooseExample() },
      h("option", { value: "" }, "Examples…"),
      ...EXAMPLES.map(({ name, title }) => h("option", { value: name }, title)),
    );
    this.element = h(
      "div",
      { class: "chooser" },
      this.#languageLabel,
      this.#language,
      h("label", { for: "examples", class: "visually-hidden" }, "Examples"),
      this.#example,
    );
    void this.#load();
    onKey(() => void this.#load());
  }

  get languages(): Language[] {
    return this.#languages;
  }

  /** Return the title of a language, or null if the server has none of this name. */
  titleOf(name: string | null): string | null {
    return this.#languages.find((language) => language.name === name)?.title ?? null;
  }

  /** Show the language of the draft. */
  show(language: string | null): void {
    this.#shown = language;
    this.#language.value = this.titleOf(language) === null ? "" : (language ?? "");
    this.#example.value = "";
  }

  /** Load the languages. A server without them, or that requires a key for them, has the examples alone. */
  async #load(): Promise<void> {
    if (this.#languages.length > 0) return;
    this.#languages = await getLanguages().catch(() => []);
    const option = ({ name, title }: Language): HTMLElement => h("option", { value: name }, title);
    const group = (label: string, members: Language[]): HTMLElement | null =>
      members.length > 0 ? h("optgroup", { label }, ...members.map(option)) : null;
    const ready = this.#languages.filter(({ prebuilt }) => prebuilt);
    const others = this.#languages.filter(({ prebuilt }) => !prebuilt);
    const options =
      ready.length > 0
        ? [group("Ready at once", ready), group("Installed when first used", others)]
        : others.map(option);
    fill(this.#language, h("option", { value: "" }, "Language…"), ...options);
    this.#language.hidden = this.#languageLabel.hidden = this.#languages.length === 0;
    this.show(this.#shown);
  }

  #chooseLanguage(): void {
    const found = this.#languages.find(({ name }) => name === this.#language.value);
    if (found !== undefined) this.chosen(draftOfLanguage(found), found.title);
  }

  #chooseExample(): void {
    const found = EXAMPLES.find(({ name }) => name === this.#example.value);
    if (found !== undefined) this.chosen(draftOf(structuredClone(found.request)), found.title);
  }
}
