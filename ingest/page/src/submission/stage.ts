// The details of one stage: the compilation or a test case, while it runs and afterwards.

import { fill, h } from "../dom";
import type { Comparison, Encoding, OutputChunk, RunStage, Stage, StageLimits } from "../model";
import { bytes, decoded, seconds } from "../text";
import { compared } from "./compared";
import type { Frame } from "./frames";
import { ending, judgement } from "./labels";
import { outputFiles } from "./outputs";
import type { Place, Places } from "./places";
import { Printed } from "./printed";

/** Properties of a stage that the request determines. */
export interface Asked {
  title: string;
  limits: StageLimits;
  expected: string | null;
  encoding: Encoding;
  comparison: Comparison["mode"];
}

export class StageView {
  readonly #bars = h("dl", { class: "bars", hidden: true });
  readonly #note = h("div");
  readonly #difference = h("div");
  readonly #files = h("div");
  readonly #streams: { stdout: Printed; stderr: Printed };
  readonly #checker: Printed;
  #received = { worker: "", stdout: 0, stderr: 0 };

  constructor(
    readonly frame: Frame,
    private readonly asked: Asked,
    private readonly places: Places,
  ) {
    const { title } = asked;
    this.#streams = {
      stdout: new Printed("Output", `Output of ${title}`, places),
      stderr: new Printed("Errors", `Error output of ${title}`, places),
    };
    this.#checker = new Printed("Checker", `Comment of the checker on ${title}`, places);
    const { stdout, stderr } = this.#streams;
    frame.body.append(
      this.#note,
      this.#difference,
      stdout.element,
      stderr.element,
      this.#checker.element,
      this.#files,
      this.#bars,
    );
  }

  /** Discard the output of an attempt that ended without a result. */
  reset(): void {
    this.#received = { worker: "", stdout: 0, stderr: 0 };
    this.#streams.stdout.set("");
    this.#streams.stderr.set("");
    this.frame.look("waiting", "waiting");
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
    this.frame.look("busy", "running");
    this.frame.open = true;
  }

  /** Show that the stage runs, or that it succeeded; the result with its cost follows. */
  happens(words: "running" | "ok"): void {
    this.frame.look(words === "ok" ? "good" : "busy", words);
  }

  /** Show the result of the stage. A case of several has its verdict, one that is alone how it ended. */
  finish(stage: Stage | RunStage, several = false): void {
    const end = ending(stage);
    const label = several && "passed" in stage ? judgement(stage) : end;
    this.frame.look(label.tone, label.words);
    this.frame.showCost(stage);
    if ("hidden" in stage && stage.hidden === true) {
      this.#hide();
      this.#drawBars(stage);
      return;
    }
    const ran = !("verdict" in stage && stage.verdict === "not_run");
    if (!ran) {
      fill(this.#note, h("p", { class: "hint" }, "It did not run, since an earlier test case failed."));
      return;
    }
    fill(
      this.#note,
      label.words !== end.words && end.tone === "bad" && h("p", { class: "error" }, end.words),
    );
    this.#showOutput(stage);
    this.#drawBars(stage);
  }

  /** Return the places in the files that the stage's error output names. */
  failures(): Place[] {
    return this.places.of(this.#streams.stderr.text);
  }

  showFiles(id: string, testCase: number, stage: RunStage): void {
    if (stage.outputs.length > 0) {
      fill(this.#files, h("h3", {}, "Files"), outputFiles(id, testCase, stage.outputs));
    }
  }

  /** Show that the stage did not run. */
  skip(): void {
    this.frame.look("skipped", "not run");
  }

  #showOutput(stage: Stage | RunStage): void {
    const { stdout, stderr } = this.#streams;
    const printed = decoded(stage.stdout, stage.encoding);
    const missing = stage.truncated ? "A part of the output is missing, since it exceeded the limits." : "";
    stdout.set(printed, missing);
    stderr.set(decoded(stage.stderr, stage.encoding));
    if (!("passed" in stage)) return;
    const { checker } = stage;
    if (checker !== undefined)
      this.#checker.set(decoded(checker.stdout + checker.stderr, checker.encoding).trimEnd());
    const { expected, encoding, comparison } = this.asked;
    if (stage.passed === false && expected !== null) {
      fill(this.#difference, compared(decoded(expected, encoding), printed, comparison));
      if (!stage.truncated) stdout.element.hidden = true;
    }
  }

  #hide(): void {
    this.#streams.stdout.set("");
    this.#streams.stderr.set("");
    fill(
      this.#note,
      h("p", { class: "hint" }, "This test case is hidden: its data and output are not shown."),
    );
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
