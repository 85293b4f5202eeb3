// The form of a submission: files, packages, commands, test cases, limits. It edits its draft in place.

import { field, fill, h } from "../dom";
import type { FieldError } from "../model";
import type { Place } from "../submission/places";
import { Cases } from "./cases";
import type { Draft } from "./draft";
import { Files } from "./files";
import { Judging } from "./judging";
import { LimitsForm } from "./limits";
import { Packages } from "./packages";

export class SubmissionForm {
  readonly element: HTMLElement;
  /** The parts of the form, by the titles of their tabs. */
  readonly panels: Record<"Code" | "Packages" | "Tests", HTMLElement>;
  readonly #files: Files;
  readonly #packages: Packages;
  readonly #cases: Cases;
  readonly #judging: Judging;
  readonly #limits: LimitsForm;
  readonly #nix: HTMLTextAreaElement;
  readonly #kinds: { packages: HTMLInputElement; nix: HTMLInputElement };
  readonly #compile: HTMLTextAreaElement;
  readonly #run: HTMLTextAreaElement;
  readonly #env: HTMLTextAreaElement;
  readonly #outputs: HTMLInputElement;
  readonly #pypi: HTMLInputElement;
  readonly #npm: HTMLInputElement;
  readonly #tags: HTMLInputElement;
  readonly #callback: HTMLInputElement;
  readonly #problem = h("div", { class: "problem", role: "alert", tabindex: -1, hidden: true });
  readonly #expression: HTMLElement;
  readonly #limitsCard: HTMLDetailsElement;
  readonly #tagsCard: HTMLDetailsElement;
  #draft!: Draft;

  constructor(
    draft: Draft,
    private readonly changed: () => void,
    private readonly reveal: (control: HTMLElement) => void,
  ) {
    this.#files = new Files(changed);
    this.#packages = new Packages(changed);
    this.#cases = new Cases(changed);
    this.#judging = new Judging(changed);
    this.#limits = new LimitsForm(changed);
    this.#nix = this.#area("dependencies.nix", 4, (value) => (this.#draft.nix = value));
    this.#compile = this.#area("compile", 1, (value) => (this.#draft.compile = value));
    this.#run = this.#area("run", 1, (value) => (this.#draft.run = value));
    this.#env = this.#area("env", 1, (value) => (this.#draft.env = value));
    this.#outputs = this.#line("outputs", "plot.png out/*.csv", (value) => (this.#draft.outputs = value));
    this.#pypi = this.#line("dependencies.pypi", "name==1.0", (value) => (this.#draft.pypi = value));
    this.#npm = this.#line("dependencies.npm", "name@1.0.0", (value) => (this.#draft.npm = value));
    this.#tags = this.#line("tags", "exercise=3 group=a", (value) => (this.#draft.tags = value));
    this.#callback = this.#line("callback_url", "https://…", (value) => (this.#draft.callback = value));
    this.#kinds = { packages: this.#kind("packages"), nix: this.#kind("nix") };
    this.#expression = field(
      "Nix expression",
      this.#nix,
      "A list of packages, or mkShell; it is evaluated to data.",
    );
    this.#limitsCard = folded("Limits", this.#limits.element);
    this.#tagsCard = folded(
      "Tags and callback",
      field("Tags", this.#tags, "For finding submissions later; separated by spaces."),
      field("Callback", this.#callback, "URL that receives the result."),
    );
    this.panels = this.#panels();
    this.element = h("div", { class: "form" }, this.#problem, ...Object.values(this.panels));
    this.show(draft);
  }

  #panels(): SubmissionForm["panels"] {
    const card = (title: string, ...children: HTMLElement[]): HTMLElement => {
      const id = `card-${title.replaceAll(" ", "-")}`;
      return h("section", { class: "card", "aria-labelledby": id }, h("h2", { id }, title), ...children);
    };
    const panel = (...children: HTMLElement[]): HTMLElement => h("div", { class: "panel" }, ...children);
    const pair = (...children: HTMLElement[]): HTMLElement => h("div", { class: "pair" }, ...children);
    const kinds = h(
      "div",
      { class: "segments", role: "radiogroup", "aria-label": "How to specify dependencies" },
      h("label", {}, this.#kinds.packages, h("span", {}, "By name")),
      h("label", {}, this.#kinds.nix, h("span", {}, "Nix expression")),
    );
    const commands = card(
      "Commands",
      pair(
        field("Compile", this.#compile, "Once. Empty: nothing to compile."),
        field("Run", this.#run, "For each test case; a bash script."),
      ),
      pair(
        field("Variables", this.#env, "One NAME=value per line."),
        field("Files to bring back", this.#outputs, "Patterns, separated by spaces; * and ** as usual."),
      ),
    );
    return {
      Code: panel(this.#files.element, commands),
      Packages: panel(card("Packages", kinds, this.#packages.element, this.#expression, this.#pinned())),
      Tests: panel(
        card("Test cases", this.#cases.element, this.#judging.element),
        this.#limitsCard,
        this.#tagsCard,
      ),
    };
  }

  #pinned(): HTMLElement {
    const hint = "With one version each, separated by spaces.";
    return h("div", { class: "pair" }, field("PyPI", this.#pypi, hint), field("npm", this.#npm, hint));
  }

  #line(path: string, placeholder: string, put: (value: string) => void): HTMLInputElement {
    const line = h("input", {
      spellcheck: "false",
      autocapitalize: "off",
      autocomplete: "off",
      placeholder,
      "data-field": path,
      oninput: () => this.#put(() => put(line.value)),
    });
    return line;
  }

  #area(path: string, rows: number, put: (value: string) => void): HTMLTextAreaElement {
    const area = h("textarea", {
      rows,
      spellcheck: "false",
      autocapitalize: "off",
      class: "command",
      "data-field": path,
      oninput: () => this.#put(() => put(area.value)),
    });
    return area;
  }

  #kind(kind: "packages" | "nix"): HTMLInputElement {
    const onchange = (): void =>
      this.#put(() => {
        this.#draft.nix = kind === "nix" ? this.#nix.value : null;
        this.#drawKind();
      });
    return h("input", { type: "radio", name: "dependencies-kind", value: kind, onchange });
  }

  #put(change: () => void): void {
    change();
    this.changed();
  }

  #drawKind(): void {
    const byName = this.#draft.nix === null;
    this.#kinds.packages.checked = byName;
    this.#kinds.nix.checked = !byName;
    this.#packages.element.hidden = !byName;
    this.#expression.hidden = byName;
  }

  show(draft: Draft): void {
    this.#draft = draft;
    this.#files.set(draft.files);
    this.#packages.set(draft.packages);
    this.#nix.value = draft.nix ?? "";
    this.#compile.value = draft.compile;
    this.#run.value = draft.run;
    this.#env.value = draft.env;
    this.#outputs.value = draft.outputs;
    this.#pypi.value = draft.pypi;
    this.#npm.value = draft.npm;
    this.#tags.value = draft.tags;
    this.#callback.value = draft.callback;
    this.#cases.set(draft.cases);
    this.#judging.set(draft);
    this.#limits.set(draft.limits);
    this.#limitsCard.open = Object.keys(draft.limits).length > 0;
    this.#tagsCard.open = draft.tags !== "" || draft.callback !== "";
    this.#drawKind();
    this.clearErrors();
  }

  clearErrors(): void {
    this.#problem.hidden = true;
    fill(this.#problem);
    for (const wrong of this.element.querySelectorAll("[aria-invalid]"))
      wrong.removeAttribute("aria-invalid");
    for (const note of this.element.querySelectorAll(".field-error")) note.remove();
  }

  /** Show each error at its field, and errors without a visible field above the form. */
  showErrors(detail: string, errors: FieldError[]): void {
    this.clearErrors();
    const elsewhere = errors.filter((error) => !this.#showError(error));
    const lines =
      errors.length > 0 && elsewhere.length === 0
        ? []
        : elsewhere.map((error) => `${error.field}: ${error.message}`);
    const title = errors.length > 0 ? "The submission was not accepted" : detail;
    const list = lines.length > 0 ? h("ul", {}, ...lines.map((line) => h("li", {}, line))) : null;
    fill(this.#problem, h("strong", {}, title), list);
    this.#problem.hidden = false;
    const first = this.element.querySelector<HTMLElement>("[aria-invalid]");
    if (first !== null) this.reveal(first);
    (first ?? this.#problem).focus();
  }

  #showError(error: FieldError): boolean {
    const [kind, number] = error.field.split(".");
    const file = kind === "files" && number !== undefined ? this.#files.reveal(Number(number)) : null;
    const control = file ?? this.#closest(error.field);
    if (control === null) return false;
    const details = control.closest("details");
    if (details !== null) details.open = true;
    control.setAttribute("aria-invalid", "true");
    const place = control.closest<HTMLElement>(".field, .files, .case-form, .chips") ?? control;
    place.append(h("p", { class: "error field-error" }, error.message));
    return true;
  }

  /** Return the control of a field, or of the nearest field that contains it. */
  #closest(path: string): HTMLElement | null {
    for (let parts = path.split("."); parts.length > 0; parts = parts.slice(0, -1)) {
      const found = this.element.querySelector<HTMLElement>(`[data-field="${CSS.escape(parts.join("."))}"]`);
      if (found !== null) return found;
    }
    return null;
  }

  /** Move the cursor to a place in a file, if the draft has the file. */
  goTo(place: Place): void {
    this.reveal(this.#files.element);
    this.#files.goTo(place);
  }

  /** Mark the lines of `places` in the editor, instead of those that are marked. */
  mark(places: Place[]): void {
    this.#files.mark(places);
  }

  /** Measure the editor again, after the form was inserted into the document. */
  measure(): void {
    this.#files.measure();
  }
}

function folded(title: string, ...children: HTMLElement[]): HTMLDetailsElement {
  return h("details", { class: "card" }, h("summary", {}, h("h2", {}, title)), ...children);
}
