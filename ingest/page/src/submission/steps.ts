// The progress of a submission through its steps.

import { h } from "../dom";
import type { Answer, DependenciesStage, Status } from "../model";
import { seconds } from "../text";

type Name = "accepted" | "packages" | "compile" | "run";

const TITLES: Record<Name, string> = {
  accepted: "Accepted",
  packages: "Packages",
  compile: "Compile",
  run: "Run",
};

/** Finished steps, and the current step, by status. */
const REACHED: Partial<Record<Status, [done: Name[], going: Name]>> = {
  queued: [[], "accepted"],
  started: [["accepted"], "packages"],
  dependencies_installed: [["accepted", "packages"], "compile"],
  compiled: [["accepted", "packages", "compile"], "run"],
};

export class Steps {
  readonly element: HTMLElement;
  readonly #steps = new Map<Name, { item: HTMLElement; state: HTMLElement; detail: HTMLElement }>();

  #queuedAt = 0;

  constructor(compiles: boolean) {
    const names: Name[] = compiles
      ? ["accepted", "packages", "compile", "run"]
      : ["accepted", "packages", "run"];
    const items = names.map((name) => {
      const state = h("span", { class: "visually-hidden" }, "to come");
      const detail = h("span", { class: "step-detail" });
      const item = h("li", { class: "step" }, h("span", { class: "step-name" }, TITLES[name]), state, detail);
      this.#steps.set(name, { item, state, detail });
      return item;
    });
    this.element = h("ol", { class: "steps", "aria-label": "Steps" }, ...items);
  }

  /** Show that an event with the payload `fact` changed the status at the time `at` (ms since 1970). */
  reached(status: Status, at: number, fact: Record<string, unknown>): void {
    const [done, going] = REACHED[status] ?? [[], "accepted"];
    const goingOn = this.#steps.has(going) ? going : "run"; // nothing to compile
    for (const [name] of this.#steps) {
      this.#look(name, done.includes(name) ? "done" : name === goingOn ? "going" : "");
    }
    if (status === "queued") this.#queuedAt = at;
    if (status === "queued") this.#detail("accepted", "queued");
    if (status === "started")
      this.#detail("accepted", `waited ${seconds(Math.max(0, at - this.#queuedAt) / 1000)}`);
    if ("dependencies" in fact) this.#packages(fact["dependencies"] as DependenciesStage);
  }

  /** Show how long a step has gone on, or what it waits for. */
  progress(name: "accepted" | "packages", text: string): void {
    this.#detail(name, text);
  }

  finish(answer: Answer): void {
    const { dependencies, compile, run } = answer;
    this.#look("accepted", answer.status === "rejected" ? "failed" : "done");
    this.#look(
      "packages",
      dependencies === null ? "" : dependencies.explanation === null ? "done" : "failed",
    );
    if (dependencies !== null) this.#packages(dependencies);
    this.#look("compile", compile === null ? "" : answer.outcome === "compile_failed" ? "failed" : "done");
    if (compile !== null)
      this.#detail("compile", compile.cached ? "done before" : seconds(compile.wall_time_s));
    this.#look("run", run.length === 0 ? "" : answer.outcome === "ok" ? "done" : "failed");
    if (run.length > 0) this.#detail("run", seconds(run.reduce((sum, stage) => sum + stage.wall_time_s, 0)));
  }

  #packages(dependencies: DependenciesStage): void {
    this.#detail("packages", dependencies.cached ? "already there" : seconds(dependencies.wall_time_s));
  }

  #look(name: Name, look: "" | "done" | "going" | "failed"): void {
    const step = this.#steps.get(name);
    if (step === undefined) return;
    step.item.className = `step ${look}`;
    step.state.textContent = { "": "to come", done: "done", going: "in progress", failed: "failed" }[look];
    if (look === "going") step.item.setAttribute("aria-current", "step");
    else step.item.removeAttribute("aria-current");
  }

  #detail(name: Name, text: string): void {
    const step = this.#steps.get(name);
    if (step !== undefined) step.detail.textContent = text;
  }
}
