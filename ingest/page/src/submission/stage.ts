// The view of one stage: the compilation or a test case, while it runs and afterwards.

import { fill, h } from "../dom";
import type { OutputChunk, RunStage, Stage, StageLimits } from "../model";
import { bytes, decoded, seconds } from "../text";
import { compared } from "./compared";
import { outputFiles } from "./outputs";
import { Printed } from "./printed";

/** Properties of a stage that the request determines. */
export interface Asked {
  title: string;
  limits: StageLimits;
  expected: string | null;
}

export class StageView {
  readonly element: HTMLDetailsElement;
  readonly #mark = h("span", { class: "mark", "aria-hidden": "true" });
  readonly #label = h("span", { class: "stage-label" }, "waiting");
  readonly #cost = h("span", { class: "stage-cost" });
  readonly #bars = h("dl", { class: "bars", hidden: true });
  readonly #difference = h("div");
  readonly #files = h("div");
  readonly #streams: { stdout: Printed; stderr: Printed };
  #received = { worker: "", stdout: 0, stderr: 0 };

  constructor(private readonly asked: Asked) {
    this.#streams = {
      stdout: new Printed("Output", `Output of ${asked.title}`),
      stderr: new Printed("Errors", `Error output of ${asked.title}`),
    };
    this.element = h(
      "details",
      { class: "stage waiting" },
      h("summary", {}, this.#mark, h("span", { class: "stage-title" }, asked.title), this.#label, this.#cost),
      h(
        "div",
        { class: "stage-body" },
        this.#bars,
        this.#difference,
        this.#streams.stdout.element,
        this.#streams.stderr.element,
        this.#files,
      ),
    );
  }

  /** Discard the output of an attempt that ended without a result. */
  reset(): void {
    this.#received = { worker: "", stdout: 0, stderr: 0 };
    this.#streams.stdout.set("");
    this.#streams.stderr.set("");
    this.#look("waiting", "waiting");
  }

  /** Append a chunk of output. Chunks after a gap are ignored: the result has the whole output. */
  print(chunk: OutputChunk): void {
    if (this.#received.worker === "") this.#received.worker = chunk.worker;
    const stream = chunk.stream;
    if (this.#received.worker !== chunk.worker || this.#received[stream] !== chunk.offset_bytes) return;
    const text = decoded(chunk.text, chunk.encoding);
    this.#received[stream] +=
      chunk.encoding === "base64" ? atob(chunk.text).length : new TextEncoder().encode(text).length;
    this.#streams[stream].append(text);
    this.#look("busy", "running");
    this.element.open = true;
  }

  /** Show that the stage runs, or that it succeeded; the result with its cost follows. */
  happens(words: "running" | "ok"): void {
    this.#look(words === "ok" ? "good" : "busy", words);
  }

  /** Show the result of the stage. */
  finish(stage: Stage): void {
    const label = labelOfStage(stage);
    this.#look(label.good ? "good" : "bad", label.words);
    this.#cost.textContent = `${seconds(stage.wall_time_s)} · ${bytes(stage.memory_bytes)}`;
    const note = stage.truncated ? "A part of the output is missing, since it exceeded the limits." : "";
    const stdout = decoded(stage.stdout, stage.encoding);
    this.#streams.stdout.set(stdout, note);
    this.#streams.stderr.set(decoded(stage.stderr, stage.encoding));
    this.#drawBars(stage);
    if ("passed" in stage && stage.passed === false && this.asked.expected !== null) {
      fill(this.#difference, compared(this.asked.expected, stdout));
      if (!stage.truncated) this.#streams.stdout.element.hidden = true;
    }
  }

  showFiles(id: string, testCase: number, stage: RunStage): void {
    if (stage.outputs.length > 0) {
      fill(this.#files, h("h4", {}, "Files"), outputFiles(id, testCase, stage.outputs));
    }
  }

  /** Show that the stage did not run. */
  skip(): void {
    this.#look("skipped", "not run");
  }

  #look(look: string, words: string): void {
    this.element.className = `stage ${look}`;
    this.#label.textContent = words;
  }

  #drawBars(stage: Stage): void {
    const { limits } = this.asked;
    const bar = (
      name: string,
      used: number,
      limit: number | undefined,
      words: (value: number) => string,
    ): HTMLElement[] => {
      const share = limit === undefined ? 0 : Math.min(1, used / limit);
      const track = h("span", { class: share > 0.9 ? "track full" : "track", "aria-hidden": "true" });
      track.style.setProperty("--share", String(share));
      const text = limit === undefined ? words(used) : `${words(used)} of ${words(limit)}`;
      return [h("dt", {}, name), h("dd", {}, track, h("span", {}, text))];
    };
    fill(
      this.#bars,
      ...bar("Time", stage.wall_time_s, limits["wall_time_s"], seconds),
      ...bar("CPU time", stage.cpu_time_s, limits["cpu_time_s"], seconds),
      ...bar("Memory", stage.memory_bytes, limits["memory_bytes"], bytes),
    );
    this.#bars.hidden = false;
  }
}

const LIMITS: Record<string, string> = {
  wall_time_s: "ran longer than allowed",
  cpu_time_s: "used more CPU time than allowed",
  memory_bytes: "used more memory than allowed",
  stdout_bytes: "printed more than allowed",
  stderr_bytes: "printed more errors than allowed",
};

function labelOfStage(stage: Stage | RunStage): { good: boolean; words: string } {
  if (stage.limit_exceeded !== null) {
    return { good: false, words: LIMITS[stage.limit_exceeded] ?? `hit the limit ${stage.limit_exceeded}` };
  }
  if (stage.signal !== null) return { good: false, words: `ended by ${stage.signal}` };
  if (stage.exit_code !== 0) return { good: false, words: `exit code ${stage.exit_code}` };
  if ("passed" in stage && stage.passed === false) return { good: false, words: "wrong output" };
  return { good: true, words: "passed" in stage && stage.passed ? "passed" : "ok" };
}
