// Test cases: input, arguments, expected output and points of each.

import { announce, field, fill, h, uniqueId } from "../dom";
import { emptyCase, type DraftCase } from "./draft";

export class Cases {
  readonly element: HTMLElement;
  readonly #list = h("ol", { class: "cases" });
  #cases: DraftCase[] = [];

  constructor(private readonly changed: () => void) {
    this.element = h(
      "div",
      {},
      this.#list,
      h("button", { type: "button", class: "small", onclick: () => this.#add() }, "+ Add a test case"),
    );
  }

  set(cases: DraftCase[]): void {
    this.#cases = cases;
    this.#draw();
  }

  #add(): void {
    this.#cases.push(emptyCase());
    this.#draw();
    announce(`Test case ${this.#cases.length} added`);
    this.#list.lastElementChild?.querySelector("textarea")?.focus();
    this.changed();
  }

  #drop(index: number): void {
    this.#cases.splice(index, 1);
    this.#draw();
    announce(`Test case ${index + 1} removed`);
    this.changed();
  }

  #draw(): void {
    fill(this.#list, ...this.#cases.map((one, index) => this.#case(one, index)));
  }

  #case(one: DraftCase, index: number): HTMLElement {
    const path = `test_cases.${index}`;
    const number = index + 1;
    const { input_file: inputFile, encoding, hidden } = one.rest;
    const inputLabel = encoding === undefined ? "Standard input" : `Standard input, in ${encoding}`;
    const input = this.#area(one.input, `${path}.input`, (value) => (one.input = value));
    if (inputFile !== undefined) {
      input.placeholder = `the file ${inputFile}`;
      input.disabled = true;
    }
    const [compares, expected] = this.#expected(one, path);
    const remove = h(
      "button",
      {
        type: "button",
        class: "quiet small",
        "aria-label": `Remove test case ${number}`,
        hidden: this.#cases.length === 1,
        onclick: () => this.#drop(index),
      },
      "Remove",
    );
    const group = h(
      "div",
      { class: "case-form", role: "group", "aria-label": `Test case ${number}`, "data-field": path },
      h(
        "div",
        { class: "case-head" },
        h("span", { class: "case-title" }, `Test case ${number}`),
        hidden === true && h("span", { class: "pill" }, "hidden"),
        compares,
        remove,
      ),
      h("div", { class: "pair" }, field(inputLabel, input), expected),
      h("div", { class: "case-line" }, this.#arguments(one, path), this.#points(one, path)),
    );
    return h("li", {}, group);
  }

  #area(value: string, path: string, put: (value: string) => void): HTMLTextAreaElement {
    const area = h("textarea", {
      rows: 3,
      spellcheck: "false",
      "data-field": path,
      oninput: () => {
        put(area.value);
        this.changed();
      },
    });
    area.value = value;
    return area;
  }

  /** Return the switch of the comparison, and the field of the expected output, which it hides. */
  #expected(one: DraftCase, path: string): [HTMLElement, HTMLElement] {
    const area = this.#area(one.expected ?? "", `${path}.expected_output`, (value) => (one.expected = value));
    const expected = field("Expected output", area);
    expected.hidden = one.expected === null;
    const compares = h("input", {
      type: "checkbox",
      id: uniqueId("compare"),
      checked: one.expected !== null,
      onchange: () => {
        one.expected = compares.checked ? area.value : null;
        expected.hidden = !compares.checked;
        this.changed();
      },
    });
    return [h("label", { class: "check", for: compares.id }, compares, "compare the output"), expected];
  }

  #arguments(one: DraftCase, path: string): HTMLElement {
    const args = h("input", {
      value: one.args,
      spellcheck: "false",
      autocapitalize: "off",
      autocomplete: "off",
      "data-field": `${path}.args`,
      oninput: () => {
        one.args = args.value;
        this.changed();
      },
    });
    return field("Arguments", args);
  }

  #points(one: DraftCase, path: string): HTMLElement {
    const points = h("input", {
      type: "number",
      inputmode: "decimal",
      min: 0,
      step: "any",
      value: one.points,
      placeholder: "none",
      "data-field": `${path}.points`,
      oninput: () => {
        one.points = points.value === "" ? null : Number(points.value);
        this.changed();
      },
    });
    return field("Points", points);
  }
}
