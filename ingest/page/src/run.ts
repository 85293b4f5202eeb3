// The view to write a submission, run it and see its result.

import { getRequest, newId, ProblemError, submit } from "./api";
import { announce, fill, h } from "./dom";
import { Chooser } from "./editor/chooser";
import { type Draft, draftOf, requestOf } from "./editor/draft";
import { EXAMPLES } from "./editor/examples";
import { SubmissionForm } from "./editor/form";
import { standardLimits } from "./editor/limits";
import { withLanguage } from "./editor/presets";
import type { LimitedStage, StageLimits, SubmissionRequest } from "./model";
import { Drafts } from "./own/drafts";
import { OwnList } from "./own/list";
import { addRun, updateRun } from "./own/runs";
import { ResultView } from "./submission/result";
import { Tabs } from "./tabs";

const RUN_KEYS = /mac/i.test(navigator.platform) ? "⌘ Enter" : "Ctrl Enter";

export class RunView {
  readonly #chooser = new Chooser((draft, title) => this.#begin(draft, title));
  readonly #notice = h("div", { class: "notice-line", hidden: true });
  readonly #drafts = new Drafts(
    () => draftOf(structuredClone(EXAMPLES[0]?.request ?? {})),
    (words) => this.#note(words),
  );
  readonly #form = new SubmissionForm(
    this.#drafts.draft,
    () => this.#drafts.edited(),
    (control) => this.#tabs.reveal(control),
  );
  readonly #results = h("div");
  readonly #own = new OwnList(
    this.#drafts,
    (draft) => this.#titleOf(draft),
    (id) => this.#openDraft(id),
  );
  readonly #resultPanel = h("div", { class: "results panel" }, this.#results, this.#own.element);
  readonly #tabs = new Tabs("Parts of the submission", {
    ...this.#form.panels,
    Result: this.#resultPanel,
  });
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
  readonly #view = h(
    "div",
    { class: "run-view" },
    h("h1", { class: "visually-hidden" }, "Run a program"),
    h(
      "div",
      { class: "toolbar" },
      this.#chooser.element,
      h("span", { class: "spacer" }),
      this.#run,
      this.#tabs.element,
    ),
    this.#notice,
    h("div", { class: "columns" }, this.#form.element, this.#resultPanel),
  );
  #result: ResultView | null = null;
  #shown: string | null = null;

  constructor() {
    this.#chooser.show(this.#drafts.draft.language);
    this.#empty();
  }

  /** Show the view, with the submission `id` unless it is null. */
  open(main: HTMLElement, id: string | null): void {
    fill(main, this.#view);
    this.#form.measure();
    this.#own.draw();
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
    const draft = this.#drafts.draft;
    const sent = this.#drafts.sent();
    const request = withLanguage(requestOf(draft), draft.language, this.#chooser.languages);
    try {
      await submit({ ...request, id });
      addRun(id, this.#titleOf(draft));
      // A language has limits of its own, which the stored request contains.
      const stored = request.language === undefined ? null : await getRequest(id).catch(() => null);
      const limited = stored ?? (await withLimits(request));
      if (this.#drafts.submitted(sent, id)) {
        history.pushState(null, "", `#/s/${id}`);
        this.#show(id, limited);
      } else {
        this.#own.draw();
        announce("Your program is among your runs");
      }
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
    this.#form.mark([]);
    this.#result = new ResultView(id, request, {
      goTo: (place) => this.#form.goTo(place),
      failedAt: (places) => this.#form.mark(places),
      changed: (status, answer, tone) => {
        this.#tabs.mark("Result", tone);
        if (updateRun(id, status, answer?.outcome ?? null)) this.#own.draw();
      },
    });
    fill(this.#results, this.#result.element);
    this.#own.show(id);
    this.#tabs.mark("Result", "busy");
    this.#tabs.select("Result");
    this.#result.focus();
    void this.#result.run();
  }

  async #reopen(id: string): Promise<void> {
    this.#close();
    this.#shown = id;
    try {
      const [request, limits] = await Promise.all([getRequest(id), standardLimits()]);
      if (this.#shown !== id) return; // the user has gone elsewhere meanwhile
      // The draft of this submission may have been edited since.
      if (this.#drafts.submission !== id) this.#use(draftOf(structuredClone(request), limits), id);
      this.#show(id, request);
    } catch (error) {
      if (this.#shown !== id) return;
      fill(
        this.#results,
        h(
          "section",
          { class: "card" },
          h("h2", {}, "Result"),
          h("p", { class: "error", role: "alert" }, (error as Error).message),
        ),
      );
      this.#tabs.select("Result");
    }
  }

  #close(): void {
    this.#result?.destroy();
    this.#result = null;
    this.#shown = null;
    this.#own.show(null);
    this.#tabs.mark("Result", "");
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

  /** Begin a draft of a language or an example. The draft before it is kept if the user changed it. */
  #begin(draft: Draft, title: string): void {
    const ran = this.#drafts.submission;
    if (!this.#use(draft) && ran !== null) this.#note("Your program is still among your runs.");
    this.#leave();
    announce(`${title} chosen`);
  }

  /** Replace the draft, and return whether the one before it is kept as a draft. */
  #use(draft: Draft, submission: string | null = null): boolean {
    const before = this.#drafts.start(draft, submission);
    this.#showDraft();
    if (before !== null) this.#note("Your program is kept as a draft.", before);
    return before !== null;
  }

  #openDraft(id: string): void {
    if (!this.#drafts.open(id)) this.#note("This draft is no longer kept.");
    else this.#showDraft();
    this.#leave();
  }

  /** Show the code, without the result of another program. */
  #leave(): void {
    if (this.#shown !== null) history.pushState(null, "", "#/");
    this.#close();
    this.#tabs.select("Code");
  }

  #showDraft(): void {
    this.#notice.hidden = true;
    this.#chooser.show(this.#drafts.draft.language);
    this.#form.show(this.#drafts.draft);
    this.#own.draw();
  }

  /** Show a note below the toolbar, with a button that goes back to the draft `id` unless it is null. */
  #note(words: string, id: string | null = null): void {
    const back = id === null ? null : h("button", { type: "button", class: "small" }, "Go back to it");
    back?.addEventListener("click", () => this.#openDraft(id ?? ""));
    fill(this.#notice, h("p", {}, words), back);
    this.#notice.hidden = false;
    announce(words);
  }

  /** Name a draft for people: its language, or else its first file. */
  #titleOf(draft: Draft): string {
    return this.#chooser.titleOf(draft.language) ?? draft.files[0]?.name ?? "A script";
  }
}

/** Return the request with the default limits that the server adds. */
async function withLimits(request: SubmissionRequest): Promise<SubmissionRequest> {
  const standard = await standardLimits();
  const stages = Object.entries(standard) as [LimitedStage, StageLimits][];
  const limits = stages.map(([stage, values]) => [stage, { ...values, ...request.limits?.[stage] }]);
  return { ...request, limits: Object.fromEntries(limits) as NonNullable<SubmissionRequest["limits"]> };
}
