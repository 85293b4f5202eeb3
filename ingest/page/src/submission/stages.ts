// The stages of a submission: the compilation, and the test cases, which are a table if there are several.

import { h } from "../dom";
import { ordinary } from "../editor/older";
import type { Answer, LimitedStage, OutputChunk, RunStage, SubmissionRequest } from "../model";
import { type Frame, CaseTable, Fold } from "./frames";
import { accepted } from "./labels";
import type { Place, Places } from "./places";
import { StageView } from "./stage";

export class Stages {
  readonly element = h("div", { class: "stages" });
  readonly #compile: StageView | null = null;
  readonly #cases: StageView[];
  readonly #table: CaseTable | null = null;
  #printing = -1;

  constructor(request: SubmissionRequest, places: Places) {
    const limits = request.limits ?? {};
    const comparison = request.comparison?.mode ?? "lines";
    const cases = request.test_cases ?? [];
    const view = (frame: Frame, title: string, kind: LimitedStage, one: (typeof cases)[number]): StageView =>
      new StageView(
        frame,
        {
          title,
          limits: limits[kind] ?? {},
          expected: one.expected_output ?? null,
          encoding: one.encoding ?? "utf8",
          comparison,
        },
        places,
      );
    if ((ordinary(request).compile ?? null) !== null) {
      const fold = new Fold("Compilation");
      this.#compile = view(fold, "Compilation", "compile", {});
      this.element.append(fold.element);
    }
    if (cases.length > 1) {
      const table = new CaseTable(cases.map((one) => one.points ?? null));
      this.#table = table;
      this.element.append(table.element);
      this.#cases = cases.map((one, index) => view(table.add(), `Test case ${index + 1}`, "run", one));
    } else {
      const fold = new Fold("Run");
      this.#cases = [view(fold, "Run", "run", cases[0] ?? {})];
      this.element.append(fold.element);
    }
  }

  get compiles(): boolean {
    return this.#compile !== null;
  }

  /** Discard the output of an attempt that ended without a result. */
  reset(): void {
    for (const stage of [this.#compile, ...this.#cases]) stage?.reset();
  }

  compiling(words: "running" | "ok"): void {
    this.#compile?.happens(words);
  }

  /** Append output. Return the words for the progress of several test cases, or null. */
  print(chunk: OutputChunk): string | null {
    if (chunk.stage === "compile") {
      this.#compile?.print(chunk);
      return null;
    }
    const index = chunk.case ?? 0;
    if (index !== this.#printing) this.#close(this.#printing);
    this.#printing = index;
    this.#cases[index]?.print(chunk);
    return this.#cases.length > 1 ? `Running ${index + 1} of ${this.#cases.length}` : null;
  }

  #close(index: number): void {
    const stage = this.#cases[index];
    if (stage !== undefined) stage.frame.open = false;
  }

  /** Show the results. Return the places in the files to which the failure that is shown refers. */
  finish(id: string, answer: Answer): Place[] {
    if (answer.compile !== null) this.#compile?.finish(answer.compile);
    else this.#compile?.skip();
    for (const [index, view] of this.#cases.entries()) {
      const stage = answer.run[index];
      if (stage === undefined) view.skip();
      else {
        view.finish(stage, this.#table !== null);
        view.showFiles(id, index, stage);
      }
    }
    if (answer.run.length > 0) {
      const passed = `${answer.run.filter(accepted).length} of ${this.#cases.length}`;
      this.#table?.showSum(passed, answer.score ?? null, answer.run);
    }
    return this.#openWhatMatters(answer);
  }

  /** Open the compilation or test case that failed, or the first test case if none failed. */
  #openWhatMatters(answer: Answer): Place[] {
    const compileFailed = answer.outcome === "compile_failed";
    if (this.#compile !== null) this.#compile.frame.open = compileFailed;
    const failed = answer.run.findIndex((stage) => !accepted(stage));
    for (const [index, view] of this.#cases.entries()) {
      view.frame.open = answer.run[index] !== undefined && index === Math.max(0, failed);
    }
    if (compileFailed) return this.#compile?.failures() ?? [];
    return this.#cases[failed]?.failures() ?? [];
  }
}

/** Return ", 3 of 4 passed" if several test cases were judged, and the score if there is one. */
export function summary(answer: Answer): string {
  const judged = answer.run.filter((stage: RunStage) => stage.verdict !== undefined || stage.passed !== null);
  return judged.length < 2 ? "" : `, ${judged.filter(accepted).length} of ${judged.length} passed`;
}
