// The Debian packages: a list of selected ones, and a search by name or description. The pattern is ARIA's
// combobox:
// https://www.w3.org/WAI/ARIA/apg/patterns/combobox/

import { findPackages } from "../api";
import { announce, fill, h, uniqueId } from "../dom";
import type { PackageFound } from "../model";
import { plural } from "../text";

const SHOWN = 12;
const TYPING_MS = 150;

export class Packages {
  readonly element: HTMLElement;
  readonly #chosen = h("ul", { class: "chips", "aria-label": "Chosen packages" });
  readonly #found = h("ul", {
    class: "options",
    role: "listbox",
    id: uniqueId("found"),
    "aria-label": "Packages",
    hidden: true,
  });
  readonly #note = h("p", { class: "hint" });
  readonly #input: HTMLInputElement;
  #names: string[] = [];
  #options: PackageFound[] = [];
  #active = -1;
  #search = new AbortController();

  constructor(private readonly changed: () => void) {
    this.#input = h("input", {
      id: uniqueId("package"),
      type: "search",
      role: "combobox",
      "aria-expanded": "false",
      "aria-autocomplete": "list",
      "aria-controls": this.#found.id,
      placeholder: "numpy, g++, rustc…",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      "data-field": "dependencies.packages",
      oninput: () => void this.#look(),
      onkeydown: (event: KeyboardEvent) => this.#key(event),
      onblur: () => this.#close(),
    });
    this.element = h(
      "div",
      { class: "packages" },
      this.#chosen,
      h(
        "div",
        { class: "field" },
        h("label", { for: this.#input.id }, "Add a package"),
        h("div", { class: "combobox" }, this.#input, this.#found),
        this.#note,
      ),
    );
  }

  set(names: string[]): void {
    this.#names = names;
    this.#input.value = "";
    this.#close();
    this.#draw();
  }

  #draw(): void {
    const chips = this.#names.map((name, index) =>
      h(
        "li",
        { class: "chip", "data-field": `dependencies.packages.${index}` },
        h("bdi", {}, name),
        h(
          "button",
          { type: "button", "aria-label": `Remove ${name}`, onclick: () => this.#drop(index) },
          "×",
        ),
      ),
    );
    fill(this.#chosen, ...chips);
    this.#chosen.hidden = chips.length === 0;
    this.#note.textContent =
      chips.length === 0 ? "No packages. bash, coreutils, sed and awk are always available." : "";
  }

  #add(name: string): void {
    if (name !== "" && !this.#names.includes(name)) {
      this.#names.push(name);
      announce(`${name} added`);
      this.changed();
    }
    this.#input.value = "";
    this.#close();
    this.#draw();
  }

  #drop(index: number): void {
    const [name] = this.#names.splice(index, 1);
    announce(`${name} removed`);
    this.#draw();
    this.#input.focus();
    this.changed();
  }

  async #look(): Promise<void> {
    this.#search.abort();
    this.#search = new AbortController();
    const { signal } = this.#search;
    const words = this.#input.value.trim();
    if (words === "") {
      this.#close();
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, TYPING_MS));
    if (signal.aborted) return;
    try {
      const { total, packages } = await findPackages(words, SHOWN, signal);
      this.#options = packages;
      this.#note.textContent = total === 0 ? "No package has such a name or description." : "";
      this.#open();
      announce(total === 0 ? "No packages found" : `${plural(total, "package")} found`);
    } catch (error) {
      if (!signal.aborted)
        this.#note.textContent = `Packages cannot be searched now: ${(error as Error).message}`;
    }
  }

  #open(): void {
    const options = this.#options.map((found, index) =>
      h(
        "li",
        {
          role: "option",
          id: `${this.#found.id}-${index}`,
          "aria-selected": "false",
          // mousedown, since a click comes after the input has lost the focus
          onmousedown: (event: MouseEvent) => {
            event.preventDefault();
            this.#add(found.name);
          },
        },
        h("strong", {}, found.name),
        h("span", { class: "version" }, found.version),
        h("span", { class: "description" }, found.description),
      ),
    );
    fill(this.#found, ...options);
    this.#found.hidden = options.length === 0;
    this.#input.setAttribute("aria-expanded", String(options.length > 0));
    this.#activate(-1);
  }

  #close(): void {
    this.#search.abort();
    this.#options = [];
    this.#open();
  }

  #activate(index: number): void {
    this.#active = index;
    for (const [at, option] of [...this.#found.children].entries()) {
      option.setAttribute("aria-selected", String(at === index));
      if (at === index) option.scrollIntoView({ block: "nearest" });
    }
    if (index >= 0) this.#input.setAttribute("aria-activedescendant", `${this.#found.id}-${index}`);
    else this.#input.removeAttribute("aria-activedescendant");
  }

  #key(event: KeyboardEvent): void {
    const count = this.#options.length;
    if (event.key === "ArrowDown" && count > 0) this.#activate((this.#active + 1) % count);
    else if (event.key === "ArrowUp" && count > 0)
      this.#activate(this.#active <= 0 ? count - 1 : this.#active - 1);
    else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey)
      this.#add(this.#options[this.#active]?.name ?? this.#input.value.trim());
    else if (event.key === "Escape") this.#close();
    else return;
    event.preventDefault();
  }
}
