// Frames of a stage's result, which can be opened: a fold, or a row of the table of test cases.

import { fill, h, uniqueId } from "../dom";
import type { RunStage, Stage } from "../model";
import { bytes, seconds } from "../text";
import { points } from "./labels";

export interface Frame {
  /** Contains the details of the stage. */
  readonly body: HTMLElement;
  open: boolean;
  /** Show the state of the stage: `look` is a style, `words` are for people. */
  look(look: string, words: string): void;
  showCost(stage: Stage): void;
}

export class Fold implements Frame {
  readonly element: HTMLDetailsElement;
  readonly body = h("div", { class: "stage-body" });
  readonly #label = h("span", { class: "stage-label" }, "waiting");
  readonly #cost = h("span", { class: "stage-cost" });

  constructor(title: string) {
    const mark = h("span", { class: "mark", "aria-hidden": "true" });
    const summary = h(
      "summary",
      {},
      mark,
      h("span", { class: "stage-title" }, title),
      this.#label,
      this.#cost,
    );
    this.element = h("details", { class: "stage waiting" }, summary, this.body);
  }

  get open(): boolean {
    return this.element.open;
  }

  set open(open: boolean) {
    this.element.open = open;
  }

  look(look: string, words: string): void {
    this.element.className = `stage ${look}`;
    this.#label.textContent = words;
  }

  showCost(stage: Stage): void {
    this.#cost.textContent = `${seconds(stage.wall_time_s)} · ${bytes(stage.memory_bytes)}`;
  }
}

class Row implements Frame {
  readonly elements: HTMLTableRowElement[];
  readonly body = h("div", { class: "stage-body" });
  readonly #button: HTMLButtonElement;
  readonly #row: HTMLTableRowElement;
  readonly #details: HTMLTableRowElement;
  readonly #verdict = h("span", { class: "stage-label" }, "waiting");
  readonly #score = h("td", { class: "number" });
  readonly #time = h("td", { class: "number" });
  readonly #memory = h("td", { class: "number memory" });

  constructor(
    number: number,
    columns: number,
    private readonly points: number | null,
    scored: boolean,
  ) {
    const id = uniqueId("case");
    const label = `Test case ${number}`;
    this.#button = h(
      "button",
      { type: "button", class: "opener", "aria-expanded": "false", "aria-controls": id, "aria-label": label },
      String(number),
    );
    const mark = h("span", { class: "mark", "aria-hidden": "true" });
    this.#row = h(
      "tr",
      // The button is within the row, so its clicks, by keyboard as well, arrive here.
      { class: "case waiting", onclick: () => (this.open = !this.open) },
      h("th", { scope: "row" }, this.#button),
      h("td", {}, h("span", { class: "verdict" }, mark, this.#verdict)),
      scored && this.#score,
      this.#time,
      this.#memory,
    );
    this.#details = h(
      "tr",
      { class: "case-details", id, hidden: true },
      h("td", { colspan: columns }, this.body),
    );
    this.elements = [this.#row, this.#details];
  }

  get open(): boolean {
    return !this.#details.hidden;
  }

  set open(open: boolean) {
    this.#details.hidden = !open;
    this.#button.setAttribute("aria-expanded", String(open));
  }

  look(look: string, words: string): void {
    this.#row.className = `case ${look}`;
    this.#verdict.textContent = words;
  }

  showCost(stage: RunStage): void {
    const ran = stage.verdict !== "not_run";
    this.#time.textContent = ran ? seconds(stage.wall_time_s) : "";
    this.#memory.textContent = ran ? bytes(stage.memory_bytes) : "";
    if (this.points !== null && stage.score !== undefined)
      this.#score.textContent = `${points(stage.score)} / ${points(this.points)}`;
  }
}

/** Table of test cases with their verdicts, scores and costs, and the sums. */
export class CaseTable {
  readonly element: HTMLElement;
  readonly #rows = h("tbody");
  readonly #sum = h("tfoot", { hidden: true });
  readonly #scored: boolean;
  #count = 0;

  /** `allPoints` has the points of each test case; the table has scores if any is not null. */
  constructor(private readonly allPoints: (number | null)[]) {
    this.#scored = allPoints.some((one) => one !== null);
    const heading = (words: string, look = ""): HTMLElement => h("th", { scope: "col", class: look }, words);
    const head = h(
      "tr",
      {},
      heading("Case"),
      heading("Verdict"),
      this.#scored && heading("Score", "number"),
      heading("Time", "number"),
      heading("Memory", "number memory"),
    );
    const caption = h("caption", { class: "visually-hidden" }, "Test cases");
    this.element = h("table", { class: "case-table" }, caption, h("thead", {}, head), this.#rows, this.#sum);
  }

  /** Add the row of the next test case. */
  add(): Frame {
    const row = new Row(
      this.#count + 1,
      this.#scored ? 5 : 4,
      this.allPoints[this.#count] ?? null,
      this.#scored,
    );
    this.#count += 1;
    this.#rows.append(...row.elements);
    return row;
  }

  /** Show the sums: `words` of the verdicts, the score, and the time of all test cases. */
  showSum(words: string, score: number | null, stages: RunStage[]): void {
    const possible = this.allPoints.reduce<number>((sum, one) => sum + (one ?? 0), 0);
    const time = stages.reduce((sum, stage) => sum + stage.wall_time_s, 0);
    fill(
      this.#sum,
      h(
        "tr",
        {},
        h("th", { scope: "row" }, "Sum"),
        h("td", {}, words),
        this.#scored &&
          h("td", { class: "number" }, score === null ? "" : `${points(score)} / ${points(possible)}`),
        h("td", { class: "number" }, seconds(time)),
        h("td", { class: "memory" }),
      ),
    );
    this.#sum.hidden = false;
  }
}
