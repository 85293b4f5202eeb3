// The view to write a submission, run it and see its result.

import { getRequest, newId, ProblemError, submit } from "./api";
import { announce, fill, h } from "./dom";
import { type Draft, draftOf, requestOf } from "./editor/draft";
import { EXAMPLES } from "./editor/examples";
import { SubmissionForm } from "./editor/form";
import { standardLimits } from "./editor/limits";
import type { LimitedStage, StageLimits, SubmissionRequest } from "./model";
import { ResultView } from "./submission/result";

const KEPT = "envicutor.draft.2"; // raise the number when the format of drafts changes
const RUN_KEYS = /mac/i.test(navigator.platform) ? "⌘ Enter" : "Ctrl Enter";

function firstDraft(): Draft {
  const kept = sessionStorage.getItem(KEPT);
  const example = EXAMPLES[0];
  if (kept !== null) return JSON.parse(kept) as Draft;
  return draftOf(structuredClone(example?.request ?? {}));
}

export class RunView {
  #draft = firstDraft();
  readonly #form = new SubmissionForm(this.#draft, () => this.#keep());
  readonly #results = h("div", { class: "results" });
  readonly #run = h(
    "button",
    {
      type: "button",
      class: "primary run",
      title: `${RUN_KEYS}, from anywhere`,
      onclick: () => void this.submit(),
    },
    "Run ",
    h("kbd", {}, RUN_KEYS),
  );
  readonly #examples: HTMLSelectElement;
  readonly #view: HTMLElement;
  #result: ResultView | null = null;
  #shown: string | null = null;

  constructor() {
    const options = EXAMPLES.map(({ name, title }) => h("option", { value: name }, title));
    this.#examples = h(
      "select",
      { id: "examples", onchange: () => this.#example(this.#examples.value) },
      h("option", { value: "" }, "Choose…"),
      ...options,
    );
    this.#view = h(
      "div",
      { class: "run-view" },
      h("h1", { class: "visually-hidden" }, "Run a program"),
      h(
        "div",
        { class: "toolbar" },
        h("label", { for: "examples" }, "Examples"),
        this.#examples,
        h("span", { class: "spacer" }),
        this.#run,
      ),
      h("div", { class: "columns" }, this.#form.element, this.#results),
    );
    this.#empty();
  }

  /** Show the view, with the submission `id` unless it is null. */
  open(main: HTMLElement, id: string | null): void {
    fill(main, this.#view);
    this.#form.measure();
    if (id === this.#shown) return;
    if (id === null) this.#close();
    else void this.#reopen(id);
  }

  async submit(): Promise<void> {
    if (this.#run.disabled) return;
    this.#form.clearErrors();
    this.#run.disabled = true;
    announce("Sending");
    const id = newId();
    const request = requestOf(this.#draft);
    try {
      await submit({ ...request, id });
      history.pushState(null, "", `#/s/${id}`);
      this.#show(id, await withLimits(request));
    } catch (error) {
      const errors = error instanceof ProblemError ? error.errors : [];
      this.#form.showErrors((error as Error).message, errors);
    } finally {
      this.#run.disabled = false;
    }
  }

  #show(id: string, request: SubmissionRequest): void {
    this.#result?.destroy();
    this.#shown = id;
    this.#result = new ResultView(id, request);
    fill(this.#results, this.#result.element);
    this.#result.focus();
    void this.#result.run();
  }

  async #reopen(id: string): Promise<void> {
    this.#close();
    this.#shown = id;
    try {
      const request = await getRequest(id);
      if (this.#shown !== id) return;
      this.#use(draftOf(structuredClone(request), await standardLimits()));
      this.#show(id, request);
    } catch (error) {
      fill(
        this.#results,
        h(
          "section",
          { class: "card" },
          h("h2", {}, "Result"),
          h("p", { class: "error", role: "alert" }, (error as Error).message),
        ),
      );
    }
  }

  #close(): void {
    this.#result?.destroy();
    this.#result = null;
    this.#shown = null;
    this.#empty();
  }

  #empty(): void {
    fill(
      this.#results,
      h(
        "section",
        { class: "card empty", "aria-labelledby": "result-title" },
        h("h2", { id: "result-title" }, "Result"),
        h(
          "p",
          {},
          "Nothing has run yet. Press ",
          h("strong", {}, "Run"),
          ". The output of the program appears here while it runs.",
        ),
      ),
    );
  }

  #example(name: string): void {
    const found = EXAMPLES.find((example) => example.name === name);
    if (found === undefined) return;
    this.#use(draftOf(structuredClone(found.request)));
    announce(`Example: ${found.title}`);
  }

  #use(draft: Draft): void {
    this.#draft = draft;
    this.#form.show(draft);
    this.#keep();
  }

  #keep(): void {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(this.#draft));
    } catch {
      sessionStorage.removeItem(KEPT); // the draft exceeds the browser's quota
    }
  }
}

/** Return the request with the default limits that the server adds. */
async function withLimits(request: SubmissionRequest): Promise<SubmissionRequest> {
  const standard = await standardLimits();
  const stages = Object.entries(standard) as [LimitedStage, StageLimits][];
  const limits = stages.map(([stage, values]) => [stage, { ...values, ...request.limits?.[stage] }]);
  return { ...request, limits: Object.fromEntries(limits) as NonNullable<SubmissionRequest["limits"]> };
}
