// A submission after its acceptance: its steps, its output and its result.

import { cancel, ProblemError } from "../api";
import { announce, fill, h } from "../dom";
import { follow } from "../events";
import {
  type Answer,
  type EventPayload,
  isFinal,
  labelOf,
  type OutputChunk,
  type Status,
  type SubmissionRequest,
  type SubmissionWait,
} from "../model";
import { harmless } from "../text";
import { type Place, Places } from "./places";
import { Stages, summary } from "./stages";
import { Steps } from "./steps";
import { BuildClock, stepWords, turnWords } from "./waits";

const TOOLBAR_PX = 60; // height of the toolbar, which stays at the top

/** Functions that are called as a result comes in. */
export interface Listeners {
  /** The user followed a link to a place in the code. */
  goTo: (place: Place) => void;
  /** The submission failed at these places in the code, or has no failure. */
  failedAt: (places: Place[]) => void;
  /** The state changed, with the colour that stands for it. */
  changed: (status: Status, answer: Answer | null, tone: string) => void;
}

export class ResultView {
  readonly element: HTMLElement;
  readonly #heading = h("h2", { id: "result-title", tabindex: -1 }, "Result");
  readonly #pill = h("span", { class: "pill busy" }, "Sending");
  readonly #note = h("div", { class: "result-note" });
  readonly #steps: Steps;
  readonly #stages: Stages;
  readonly #clock: BuildClock;
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
    private readonly listeners: Listeners,
  ) {
    const names = (request.files ?? []).map(({ name }) => name);
    this.#stages = new Stages(request, new Places(names, listeners.goTo));
    this.#steps = new Steps(this.#stages.compiles);
    this.#clock = new BuildClock((words, step) => {
      const reached = step === undefined ? "" : stepWords(step);
      this.#steps.progress("packages", reached || `${words} so far`);
      const now = reached && ` (${reached})`;
      this.#say(`The packages are being installed${now}, for ${words} so far. They are kept for later runs.`);
    });
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
      this.#stages.element,
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
      this.#clock.stop();
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
    this.#clock.stop();
  }

  #happened(fact: string, { fact: payload, status, refused, time }: EventPayload): void {
    if (refused !== null) return;
    if (fact === "waiting") {
      this.#waits(payload as unknown as SubmissionWait, Date.parse(time));
      return;
    }
    this.#clock.stop();
    if (typeof payload["attempt"] === "number" && fact === "started") this.#attempt = payload["attempt"];
    if (fact === "handed_back" || fact === "lease_expired") {
      this.#say("Its worker is gone; another worker will run it.");
      this.#stages.reset();
    } else fill(this.#note);
    if (fact === "started") this.#clock.begin(Date.parse(time));
    if (status === "dependencies_installed") this.#stages.compiling("running");
    if (status === "compiled") this.#stages.compiling("ok");
    if (status === null || isFinal(status)) return;
    this.#steps.reached(status, Date.parse(time), payload);
    this.#look(words(status, this.#stages.compiles), "busy");
    this.listeners.changed(status, null, "busy");
  }

  #waits(wait: SubmissionWait, at: number): void {
    if (wait.reason === "environment") {
      this.#clock.reads(at, wait.step);
      return;
    }
    const turn = turnWords(wait);
    this.#steps.progress("accepted", turn);
    this.#say(`Waiting for a worker: ${turn}.`);
  }

  #print(chunk: OutputChunk): void {
    if (chunk.attempt !== this.#attempt) return;
    const progress = this.#stages.print(chunk);
    if (progress !== null) this.#look(progress, "busy");
  }

  #finish(answer: Answer): void {
    this.#clock.stop();
    this.#cancel.hidden = true;
    this.#steps.finish(answer);
    const { words: end, tone } = labelOf(answer.status, answer.outcome);
    fill(this.#note);
    const places = this.#stages.finish(this.id, answer);
    this.#explain(answer);
    this.#look(`${end}${summary(answer)}`, tone);
    this.listeners.failedAt(places);
    this.listeners.changed(answer.status, answer, tone);
  }

  #explain(answer: Answer): void {
    const { dependencies, error, errors } = answer;
    if (dependencies !== null && dependencies.explanation !== null) {
      this.#problem(dependencies.explanation, dependencies.log);
    } else if (error !== null) this.#problem(error);
    else if (errors.length > 0) this.#problem(errors.map((one) => `${one.field}: ${one.message}`).join("\n"));
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

function words(status: Status, compiles: boolean): string {
  if (status === "dependencies_installed") return compiles ? "Compiling" : "Running";
  return labelOf(status, null).words;
}
