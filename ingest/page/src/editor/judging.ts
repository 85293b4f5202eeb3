// How the test cases of a request are judged: the comparison of outputs, and whether to stop at a failure.

import { field, fill, h, uniqueId } from "../dom";
import type { Comparison } from "../model";
import type { Draft } from "./draft";

type Mode = Comparison["mode"];

const TITLES: Record<Mode, string> = {
  lines: "Lines, ignoring white space at ends",
  exact: "Every byte",
  tokens: "Words, in any lines",
  floats: "Words, with numbers nearly equal",
  checker: "By the checker of this submission",
};

export class Judging {
  readonly element: HTMLElement;
  readonly #mode: HTMLSelectElement;
  readonly #tolerances = h("div", { class: "pair" });
  readonly #stop: HTMLInputElement;
  #draft: Draft | null = null;

  constructor(private readonly changed: () => void) {
    this.#mode = h("select", { "data-field": "comparison", onchange: () => this.#choose() });
    this.#stop = h("input", {
      type: "checkbox",
      id: uniqueId("stop"),
      onchange: () => {
        if (this.#draft !== null) this.#draft.stop = this.#stop.checked;
        this.changed();
      },
    });
    this.element = h(
      "div",
      { class: "judging" },
      field("Compare outputs by", this.#mode),
      this.#tolerances,
      h("label", { class: "check", for: this.#stop.id }, this.#stop, "stop at the first failure"),
    );
  }

  set(draft: Draft): void {
    this.#draft = draft;
    const { mode } = draft.comparison;
    const modes = (Object.keys(TITLES) as Mode[]).filter((one) => one !== "checker" || mode === "checker");
    fill(this.#mode, ...modes.map((one) => h("option", { value: one }, TITLES[one])));
    this.#mode.value = mode;
    this.#stop.checked = draft.stop;
    this.#drawTolerances(draft.comparison);
  }

  #choose(): void {
    if (this.#draft === null) return;
    this.#draft.comparison = { mode: this.#mode.value as Exclude<Mode, "checker"> };
    this.#drawTolerances(this.#draft.comparison);
    this.changed();
  }

  #drawTolerances(comparison: Comparison): void {
    this.#tolerances.hidden = comparison.mode !== "floats";
    if (comparison.mode !== "floats") return;
    const tolerance = (name: "absolute" | "relative", label: string): HTMLElement => {
      const input = h("input", {
        type: "number",
        min: 0,
        step: "any",
        placeholder: "0.000001",
        value: comparison[name],
        "data-field": `comparison.floats.${name}`,
        oninput: () => {
          if (input.value === "") delete comparison[name];
          else comparison[name] = Number(input.value);
          this.changed();
        },
      });
      return field(label, input);
    };
    fill(
      this.#tolerances,
      tolerance("absolute", "Absolute difference"),
      tolerance("relative", "Relative difference"),
    );
  }
}
