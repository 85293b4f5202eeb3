// Test cases: the standard input and the expected output of each.

import { announce, field, fill, h } from "../dom";
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
    const text = (value: string, name: string, put: (value: string) => void): HTMLTextAreaElement => {
      const area = h("textarea", {
        rows: 3,
        spellcheck: "false",
        "data-field": `${path}.${name}`,
        oninput: () => {
          put(area.value);
          this.changed();
        },
      });
      area.value = value;
      return area;
    };
    const expected = text(one.expected ?? "", "expected_output", (value) => (one.expected = value));
    const compares = h("input", {
      type: "checkbox",
      id: `compare-${index}`,
      checked: one.expected !== null,
      onchange: () => {
        one.expected = compares.checked ? expected.value : null;
        expectedField.hidden = !compares.checked;
        this.changed();
      },
    });
    const args = h("input", {
      value: one.args,
      spellcheck: "false",
      autocapitalize: "off",
      "data-field": `${path}.args`,
      oninput: () => {
        one.args = args.value;
        this.changed();
      },
    });
    const expectedField = field("Expected output", expected);
    expectedField.hidden = one.expected === null;
    const number = index + 1;
    const group = h(
      "div",
      { class: "case-form", role: "group", "aria-label": `Test case ${number}`, "data-field": path },
      h(
        "div",
        { class: "case-head" },
        h("span", { class: "case-title" }, `Test case ${number}`),
        h("label", { class: "check", for: compares.id }, compares, "compare the output"),
        h(
          "button",
          {
            type: "button",
            class: "quiet small",
            "aria-label": `Remove test case ${number}`,
            hidden: this.#cases.length === 1,
            onclick: () => this.#drop(index),
          },
          "Remove",
        ),
      ),
      h(
        "div",
        { class: "pair" },
        field(
          "Standard input",
          text(one.input, "input", (value) => (one.input = value)),
        ),
        expectedField,
      ),
      field("Arguments", args),
    );
    return h("li", {}, group);
  }
}
