// The files of a submission: a row of tabs, and an editor of the selected file.

import { announce, fill, h, uniqueId } from "../dom";
import type { SourceFile } from "../model";
import type { Place } from "../submission/places";
import { nextTab } from "../tabs";
import { harmless } from "../text";
import { CodeEditor } from "./code";

const TEXT_AT_MOST = 1_000_000; // bytes; a request may not contain a longer text anyway

export class Files {
  readonly element: HTMLElement;
  readonly #tabs = h("div", {
    class: "tabs",
    role: "tablist",
    "aria-label": "Files",
    "data-field": "files",
    onkeydown: (event: KeyboardEvent) => this.#key(event),
  });
  readonly #panel: HTMLElement;
  readonly #naming = h("div", { class: "naming", hidden: true });
  readonly #code: CodeEditor;
  readonly #rename = this.#tool("Rename", "Rename this file (F2)", () => this.#askName(this.#chosen));
  readonly #remove = this.#tool("Remove", "Remove this file (Delete)", () => this.#removeChosen());
  #files: SourceFile[] = [];
  #chosen = 0;
  #places: Place[] = [];

  constructor(private readonly changed: () => void) {
    this.#code = new CodeEditor((text) => {
      const file = this.#files[this.#chosen];
      if (file !== undefined) file.content = text;
      this.changed();
    });
    const hint = h(
      "p",
      { class: "hint code-hint" },
      "Tab indents; ",
      h("kbd", {}, "Esc"),
      " then ",
      h("kbd", {}, "Tab"),
      " leaves the editor.",
    );
    this.#panel = h(
      "div",
      { class: "code-panel", role: "tabpanel", id: uniqueId("panel") },
      this.#code.element,
    );
    const upload = h("input", {
      type: "file",
      multiple: true,
      hidden: true,
      onchange: () => void this.#upload(upload),
    });
    this.element = h(
      "section",
      { class: "card files", "aria-label": "Files" },
      h(
        "div",
        { class: "file-bar" },
        this.#tabs,
        h(
          "div",
          { class: "tools" },
          this.#tool("+ New", "Add a file", () => this.#askName(null)),
          this.#tool("Open…", "Add files from this computer", () => upload.click()),
          this.#rename,
          this.#remove,
        ),
        upload,
      ),
      this.#naming,
      this.#panel,
      hint,
    );
  }

  #tool(text: string, title: string, onclick: () => void): HTMLButtonElement {
    return h("button", { type: "button", class: "quiet small", title, onclick }, text);
  }

  set(files: SourceFile[], chosen = 0): void {
    this.#files = files;
    this.#places = [];
    this.#choose(Math.min(chosen, files.length - 1));
  }

  /** Select the file to which an error refers, and return its tab. */
  reveal(index: number): HTMLElement | null {
    if (index in this.#files) this.#choose(index);
    return this.#tabs.querySelector<HTMLElement>(`[data-index="${index}"]`);
  }

  measure(): void {
    this.#code.measure();
  }

  /** Move the cursor to a place, if there is such a file. */
  goTo({ file, line, column }: Place): void {
    const index = this.#files.findIndex(({ name }) => name === file);
    if (index < 0) return;
    if (index !== this.#chosen) this.#choose(index);
    this.#code.goTo(line, column);
  }

  /** Mark the lines of `places`, instead of those that are marked. */
  mark(places: Place[]): void {
    this.#places = places;
    this.#markLines();
  }

  #markLines(): void {
    const name = this.#files[this.#chosen]?.name;
    this.#code.mark(this.#places.filter(({ file }) => file === name).map(({ line }) => line));
  }

  #choose(index: number): void {
    this.#chosen = Math.max(0, index);
    const file = this.#files[this.#chosen];
    this.#draw();
    this.#panel.hidden = file === undefined;
    if (file === undefined) return;
    const binary = (file.encoding ?? "utf8") !== "utf8";
    const text = binary ? "This file is not text. It is sent unchanged." : file.content;
    this.#code.show(file.name, text, binary);
    this.#markLines();
  }

  #draw(): void {
    const tabs = this.#files.map((file, index) =>
      h(
        "button",
        {
          type: "button",
          role: "tab",
          class: "tab",
          id: `file-tab-${index}`,
          "data-index": index,
          "data-field": `files.${index}`,
          "aria-selected": String(index === this.#chosen),
          "aria-controls": this.#panel.id,
          tabindex: index === this.#chosen ? 0 : -1,
          onclick: () => this.#choose(index),
          ondblclick: () => this.#askName(index),
        },
        h("bdi", {}, harmless(file.name)),
      ),
    );
    fill(this.#tabs, ...tabs);
    this.#tabs.hidden = tabs.length === 0;
    this.#panel.setAttribute("aria-labelledby", `file-tab-${this.#chosen}`);
    this.#rename.disabled = this.#remove.disabled = tabs.length === 0;
  }

  #focusTab(): void {
    this.#tabs.querySelector<HTMLElement>('[aria-selected="true"]')?.focus();
  }

  #key(event: KeyboardEvent): void {
    const target = nextTab(event.key, this.#chosen, this.#files.length);
    if (target !== null) {
      this.#choose(target);
      this.#focusTab();
    } else if (event.key === "Delete") this.#removeChosen();
    else if (event.key === "F2") this.#askName(this.#chosen);
    else return;
    event.preventDefault();
  }

  #removeChosen(): void {
    const [removed] = this.#files.splice(this.#chosen, 1);
    if (removed === undefined) return;
    announce(`${removed.name} removed`);
    this.#choose(Math.min(this.#chosen, this.#files.length - 1));
    this.#focusTab();
    this.changed();
  }

  /** Ask for the new name of a file, or for the name of a new file if `index` is null. */
  #askName(index: number | null): void {
    const input = h("input", {
      id: uniqueId("name"),
      value: index === null ? "" : (this.#files[index]?.name ?? ""),
      placeholder: "main.py",
      spellcheck: "false",
      autocapitalize: "off",
    });
    const wrong = h("p", { class: "error", role: "alert", id: uniqueId("error") });
    const close = (): void => {
      this.#naming.hidden = true;
      fill(this.#naming);
    };
    const form = h(
      "form",
      {
        class: "row",
        onsubmit: (event: SubmitEvent) => {
          event.preventDefault();
          const name = input.value.trim();
          const same = this.#files.findIndex((file) => file.name === name);
          if (name === "") wrong.textContent = "Give it a name, such as main.py.";
          else if (same >= 0 && same !== index) wrong.textContent = "There is a file of this name already.";
          else {
            close();
            this.#named(index, name);
            return;
          }
          input.setAttribute("aria-invalid", "true");
          input.setAttribute("aria-describedby", wrong.id);
          input.focus();
        },
        onkeydown: (event: KeyboardEvent) => {
          if (event.key !== "Escape") return;
          close();
          this.#focusTab();
        },
      },
      h("label", { for: input.id }, index === null ? "Name of the new file" : "New name"),
      input,
      h("button", { class: "small" }, index === null ? "Add" : "Rename"),
      h("button", { type: "button", class: "quiet small", onclick: close }, "Cancel"),
    );
    fill(this.#naming, form, wrong);
    this.#naming.hidden = false;
    input.focus();
    input.select();
  }

  #named(index: number | null, name: string): void {
    const file = index === null ? undefined : this.#files[index];
    if (file === undefined) this.#files.push({ name, content: "" });
    else file.name = name;
    this.#choose(index ?? this.#files.length - 1);
    if (file === undefined) this.#code.focus();
    else this.#focusTab();
    this.changed();
  }

  async #upload(input: HTMLInputElement): Promise<void> {
    for (const file of input.files ?? []) {
      const added = await sourceFile(file);
      const at = this.#files.findIndex((other) => other.name === added.name);
      if (at >= 0) this.#files[at] = added;
      else this.#files.push(added);
    }
    input.value = "";
    this.#choose(this.#files.length - 1);
    this.changed();
  }
}

async function sourceFile(file: File): Promise<SourceFile> {
  const data = new Uint8Array(await file.arrayBuffer());
  try {
    if (data.length > TEXT_AT_MOST) throw new TypeError("too large to be edited");
    return { name: file.name, content: new TextDecoder("utf-8", { fatal: true }).decode(data) };
  } catch {
    return { name: file.name, content: await base64(file), encoding: "base64" };
  }
}

function base64(file: File): Promise<string> {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",", 2)[1] ?? "");
    reader.readAsDataURL(file);
  });
}
