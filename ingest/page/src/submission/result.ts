// A submission after its acceptance: its steps, its output and its result.

import { cancel, ProblemError } from "../api";
import { announce, fill, h } from "../dom";
import { ordinary } from "../editor/older";
import { follow } from "../events";
import {
  type Answer,
  type EventPayload,
  isFinal,
  type OutputChunk,
  type Status,
  type SubmissionWait,
  type SubmissionRequest,
  labelOf,
} from "../model";
import { harmless } from "../text";
import { StageView } from "./stage";
import { Steps } from "./steps";

const TOOLBAR_PX = 60; // height of the toolbar, which stays at the top

export class ResultView {
  readonly element: HTMLElement;
  readonly #heading = h("h2", { id: "result-title", tabindex: -1 }, "Result");
  readonly #pill = h("span", { class: "pill busy" }, "Sending");
  readonly #note = h("div", { class: "result-note" });
  readonly #steps: Steps;
  readonly #compile: StageView | null;
  readonly #cases: StageView[];
  readonly #cancel = h(
    "button",
    { type: "button", class: "small danger", onclick: () => void this.#stop() },
    "Cancel",
  );
  readonly #ending = new AbortController();
  #attempt = 1;

  constructor(
    private readonly id: string,
    request: SubmissionRequest,
  ) {
    const limits = request.limits ?? {};
    const compiles = (ordinary(request).compile ?? null) !== null;
    this.#steps = new Steps(compiles);
    this.#compile = compiles
      ? new StageView({ title: "Compilation", limits: limits.compile ?? {}, expected: null })
      : null;
    const cases = request.test_cases ?? [];
    this.#cases = (cases.length > 0 ? cases : [{}]).map(
      (one, index) =>
        new StageView({
          title: cases.length > 1 ? `Test case ${index + 1}` : "Run",
          limits: limits.run ?? {},
          expected: one.expected_output ?? null,
        }),
    );
    this.element = h(
      "section",
      { class: "card result", "aria-labelledby": "result-title" },
      h(
        "div",
        { class: "result-head" },
        this.#heading,
        this.#pill,
        h("div", { class: "tools" }, this.#cancel),
      ),
      h(
        "p",
        { class: "result-links" },
        h("a", { href: `#/s/${id}`, class: "mono" }, id),
        h("a", { href: `#/s/${id}/history` }, "History"),
        h("button", { type: "button", class: "quiet small", onclick: () => void this.#copy() }, "Copy link"),
      ),
      this.#steps.element,
      this.#note,
      h("div", { class: "stages" }, this.#compile?.element, ...this.#cases.map((one) => one.element)),
    );
  }

  /** Follow the submission's events and show them until it ends. */
  async run(): Promise<void> {
    try {
      for await (const event of follow(this.id, this.#ending.signal, (why) => this.#say(why))) {
        if (event.name === "output") this.#print(event.data);
        else if (event.name === "end") this.#finish(event.data);
        else this.#happened(event.fact, event.data);
      }
    } catch (error) {
      if (this.#ending.signal.aborted) return;
      this.#look("No answer", "bad");
      this.#cancel.hidden = true;
      this.#problem((error as Error).message);
    }
  }

  focus(): void {
    this.#heading.focus({ preventScroll: true });
    const { top, bottom } = this.#heading.getBoundingClientRect();
    if (top < TOOLBAR_PX || bottom > innerHeight) this.element.scrollIntoView({ block: "start" });
  }

  destroy(): void {
    this.#ending.abort();
  }

  #happened(fact: string, { fact: payload, status, refused, time }: EventPayload): void {
    if (refused !== null) return;
    if (fact === "waiting") {
      this.#say(waitingWords(payload as unknown as SubmissionWait));
      return;
    }
    if (typeof payload["attempt"] === "number" && fact === "started") this.#attempt = payload["attempt"];
    if (fact === "handed_back" || fact === "lease_expired") {
      this.#say("Its worker is gone; another worker will run it.");
      for (const stage of [this.#compile, ...this.#cases]) stage?.reset();
    } else fill(this.#note);
    if (status === "dependencies_installed") this.#compile?.happens("running");
    if (status === "compiled") this.#compile?.happens("ok");
    if (status === null || isFinal(status)) return;
    this.#steps.reached(status, Date.parse(time), payload);
    this.#look(words(status, this.#compile !== null), "busy");
  }

  #print(chunk: OutputChunk): void {
    if (chunk.attempt !== this.#attempt) return;
    const stage = chunk.stage === "compile" ? this.#compile : this.#cases[chunk.case ?? 0];
    stage?.print(chunk);
    if (chunk.stage === "run" && this.#cases.length > 1) {
      this.#look(`Running ${(chunk.case ?? 0) + 1} of ${this.#cases.length}`, "busy");
    }
  }

  #finish(answer: Answer): void {
    this.#cancel.hidden = true;
    this.#steps.finish(answer);
    const { words: end, tone } = labelOf(answer.status, answer.outcome);
    fill(this.#note);
    if (answer.compile !== null) this.#compile?.finish(answer.compile);
    else this.#compile?.skip();
    for (const [index, view] of this.#cases.entries()) {
      const stage = answer.run[index];
      if (stage === undefined) view.skip();
      else {
        view.finish(stage);
        view.showFiles(this.id, index, stage);
      }
    }
    this.#explain(answer);
    this.#openWhatMatters(answer);
    this.#look(`${end}${this.#count(answer)}`, tone);
  }

  #count(answer: Answer): string {
    const judged = answer.run.filter((stage) => stage.passed !== null);
    if (judged.length < 2) return "";
    return `, ${judged.filter((stage) => stage.passed === true).length} of ${judged.length} passed`;
  }

  #explain(answer: Answer): void {
    const { dependencies, error, errors } = answer;
    if (dependencies !== null && dependencies.explanation !== null) {
      this.#problem(dependencies.explanation, dependencies.log);
    } else if (error !== null) this.#problem(error);
    else if (errors.length > 0) this.#problem(errors.map((one) => `${one.field}: ${one.message}`).join("\n"));
  }

  /** Open the compilation or test case that failed, or the first test case if none failed. */
  #openWhatMatters(answer: Answer): void {
    const failed = answer.run.findIndex((stage) => stage.passed === false || stage.exit_code !== 0);
    if (answer.outcome === "compile_failed" && this.#compile !== null) this.#compile.element.open = true;
    for (const [index, view] of this.#cases.entries()) {
      view.element.open = answer.run[index] !== undefined && index === Math.max(0, failed);
    }
    if (answer.compile?.exit_code === 0 && this.#compile !== null) this.#compile.element.open = false;
  }

  #problem(text: string, log = ""): void {
    fill(
      this.#note,
      h("p", { class: "error preserve" }, harmless(text)),
      log !== "" &&
        h(
          "details",
          {},
          h("summary", {}, "The end of the log"),
          h("pre", { class: "printed", tabindex: 0 }, harmless(log)),
        ),
    );
  }

  #say(text: string): void {
    fill(this.#note, h("p", { class: "hint" }, text));
  }

  #look(text: string, tone: string): void {
    this.#pill.textContent = text;
    this.#pill.className = `pill ${tone}`;
    announce(text);
  }

  async #stop(): Promise<void> {
    this.#cancel.disabled = true;
    try {
      await cancel(this.id);
    } catch (error) {
      const late = error instanceof ProblemError && error.status === 409;
      if (!late) this.#problem((error as Error).message); // 409: it has ended, and its end is shown
    }
    this.#cancel.disabled = false;
  }

  async #copy(): Promise<void> {
    const link = new URL(`#/s/${this.id}`, location.href).href;
    try {
      await navigator.clipboard.writeText(link);
      announce("Link copied");
      this.#say("The link is copied.");
    } catch {
      this.#say(`The link is ${link}`);
    }
  }
}

function waitingWords({ reason, before, estimate_s }: SubmissionWait): string {
  if (reason === "environment") return "Its environment is being built.";
  const estimate = estimate_s === null ? "" : `, about ${estimate_s.toFixed(0)} s`;
  return `Waiting for a worker: ${before ?? 0} before it${estimate}.`;
}

function words(status: Status, compiles: boolean): string {
  if (status === "dependencies_installed") return compiles ? "Compiling" : "Running";
  return labelOf(status, null).words;
}
