// The result of a stage in words.

import type { RunStage, Stage, Verdict } from "../model";

export interface Label {
  tone: "good" | "bad" | "skipped";
  words: string;
}

export const VERDICTS: Record<Verdict, Label> = {
  accepted: { tone: "good", words: "accepted" },
  wrong_output: { tone: "bad", words: "wrong output" },
  time_limit: { tone: "bad", words: "time limit" },
  memory_limit: { tone: "bad", words: "memory limit" },
  output_limit: { tone: "bad", words: "output limit" },
  runtime_error: { tone: "bad", words: "runtime error" },
  not_run: { tone: "skipped", words: "not run" },
  checker_error: { tone: "bad", words: "checker error" },
};

const LIMITS: Record<string, string> = {
  wall_time_s: "ran longer than allowed",
  cpu_time_s: "used more CPU time than allowed",
  memory_bytes: "used more memory than allowed",
  stdout_bytes: "printed more than allowed",
  stderr_bytes: "printed more errors than allowed",
};

/** Return how the program of a stage ended. */
export function ending(stage: Stage | RunStage): Label {
  if (stage.limit_exceeded !== null) {
    return { tone: "bad", words: LIMITS[stage.limit_exceeded] ?? `hit the limit ${stage.limit_exceeded}` };
  }
  if (stage.signal !== null) return { tone: "bad", words: `ended by ${stage.signal}` };
  if (stage.exit_code !== 0) return { tone: "bad", words: `exit code ${stage.exit_code}` };
  if ("passed" in stage && stage.passed === false) return { tone: "bad", words: "wrong output" };
  return { tone: "good", words: "passed" in stage && stage.passed ? "passed" : "ok" };
}

/** Return the verdict of a test case; submissions of versions without verdicts show how the program ended. */
export function judgement(stage: RunStage): Label {
  return stage.verdict === undefined ? ending(stage) : VERDICTS[stage.verdict];
}

/** Return whether a test case is accepted. */
export function accepted(stage: RunStage): boolean {
  return judgement(stage).tone === "good";
}

/** Format points: 2 as "2", 0.3333333 as "0.33". */
export const points = (value: number): string => String(Number(value.toFixed(2)));
