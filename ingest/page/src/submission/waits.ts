// What a submission waits for, in words.

import type { BuildStep, SubmissionWait } from "../model";
import { seconds } from "../text";

const TICK_MS = 1000;

/** Return "3 before you, about 5 s". */
export function turnWords({ before, estimate_s: estimate }: SubmissionWait): string {
  const turn = before === null || before === 0 ? "you are next" : `${before} before you`;
  return estimate === null ? turn : `${turn}, about ${seconds(Math.max(1, Math.round(estimate)))}`;
}

/** Return "fetching 12 of 55", or "building" for a stage that does not count. */
export function stepWords({ stage, done, total }: BuildStep): string {
  return total > 0 ? `${stage} ${done} of ${total}` : stage;
}

/** Clock of the build of an environment. Only the server's times are compared, since the browser's may differ. */
export class BuildClock {
  #startedAt: number | null = null; // ms, by the clock of the server
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `shows` receives the elapsed time in words, each second, and the step of the build, if it is known. */
  constructor(private readonly shows: (words: string, step?: BuildStep) => void) {}

  /** Remember the time (ms) at which the worker started. */
  begin(at: number): void {
    this.#startedAt = at;
  }

  /** Run on from the time `now` (ms), at which the build of the environment had reached `step`. */
  reads(now: number, step?: BuildStep): void {
    clearInterval(this.#timer);
    const elapsed = Math.max(0, now - (this.#startedAt ?? now));
    const local = performance.now();
    const show = (): void =>
      this.shows(seconds(Math.round((elapsed + performance.now() - local) / TICK_MS)), step);
    this.#timer = setInterval(show, TICK_MS);
    show();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
