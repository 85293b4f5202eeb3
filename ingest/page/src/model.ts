// Types of the HTTP API, as far as the page uses them; /openapi.json is the reference.

export type Encoding = "utf8" | "base64" | "hex";

export interface SourceFile {
  name: string;
  content: string;
  encoding?: Encoding;
}

export interface TestCase {
  input?: string;
  input_file?: string | null;
  encoding?: Encoding;
  args?: string[];
  expected_output?: string | null;
  points?: number | null;
  hidden?: boolean;
}

/** How outputs are compared. The page edits these modes; it passes on a checker as it is. */
export type Comparison =
  | { mode: "lines" | "exact" | "tokens" }
  | { mode: "floats"; absolute?: number; relative?: number }
  | { mode: "checker" };

export type Program = string | string[];
export type StageLimits = Record<string, number>;
export type LimitedStage = "dependencies" | "compile" | "run";

export interface SubmissionRequest {
  id?: string;
  language?: string | null;
  files?: SourceFile[];
  dependencies?: Dependencies | null;
  compile?: Program | null;
  run?: Program | null;
  env?: Record<string, string>;
  test_cases?: TestCase[];
  comparison?: Comparison;
  stop_at_first_failure?: boolean;
  outputs?: string[];
  limits?: Partial<Record<LimitedStage, StageLimits>>;
  tags?: string[];
  callback_url?: string | null;
  callback_answer?: boolean;
}

export interface Dependencies {
  packages?: string[] | null;
  nix?: string | null;
  /** `NAME==VERSION` */
  pypi?: string[];
  /** `NAME@VERSION` */
  npm?: string[];
}

export interface Stage {
  stdout: string;
  stderr: string;
  encoding: Encoding;
  exit_code: number | null;
  signal: string | null;
  wall_time_s: number;
  cpu_time_s: number;
  memory_bytes: number;
  limit_exceeded: string | null;
  truncated: boolean;
}

export interface OutputFile {
  name: string;
  size_bytes: number;
  media_type: string;
  content: string | null;
  omitted: string | null;
}

export interface CompileStage extends Stage {
  /** True if the compilation was cached; output and cost are those of the original compilation. */
  cached?: boolean;
}

export type Verdict =
  | "accepted"
  | "wrong_output"
  | "time_limit"
  | "memory_limit"
  | "output_limit"
  | "runtime_error"
  | "not_run"
  | "checker_error";

export interface RunStage extends Stage {
  passed: boolean | null;
  /** Absent in submissions of versions without verdicts. */
  verdict?: Verdict;
  score?: number;
  /** Run of the checker, whose output is its comment. */
  checker?: Stage;
  hidden?: boolean;
  outputs: OutputFile[];
}

export interface DependenciesStage {
  id: string;
  cached: boolean;
  explanation: string | null;
  log: string;
  wall_time_s: number;
}

export type Status =
  "queued" | "started" | "dependencies_installed" | "compiled" | "finished" | "cancelled" | "rejected";

export type Outcome =
  "ok" | "dependencies_failed" | "compile_failed" | "run_failed" | "wrong_output" | "internal_error";

export interface Answer {
  id: string;
  status: Status;
  attempt: number;
  created_at: string;
  finished_at: string | null;
  outcome: Outcome | null;
  dependencies: DependenciesStage | null;
  compile: CompileStage | null;
  run: RunStage[];
  score?: number;
  error: string | null;
  errors: FieldError[];
}

export interface FieldError {
  field: string;
  message: string;
  limit?: number | string | null;
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  errors: FieldError[];
}

export interface EventPayload {
  time: string;
  status: Status | null;
  refused: string | null;
  fact: Record<string, unknown>;
}

/** What the build of an environment does; `total` is 0 if the stage does not count archives. */
export interface BuildStep {
  stage: string;
  done: number;
  total: number;
}

/** What a submission waits for: the data of the event `waiting`. */
export interface SubmissionWait {
  reason: "worker" | "environment";
  before: number | null;
  estimate_s: number | null;
  /** Absent while no step is known. */
  step?: BuildStep;
}

export interface OutputChunk {
  attempt: number;
  worker: string;
  stage: "compile" | "run";
  case: number | null;
  stream: "stdout" | "stderr";
  sequence: number;
  offset_bytes: number;
  text: string;
  encoding: Encoding;
}

export interface Listed {
  id: string;
  status: Status;
  attempt: number;
  created_at: string;
  finished_at: string | null;
  outcome: Outcome | null;
  tags: string[];
}

/** A preset of `GET /languages`. Its commands contain `{source}` and `{stem}`. */
export interface Language {
  name: string;
  title: string;
  packages: string[];
  source_file: string;
  compile: string | null;
  run: string;
  hello: string;
  /** Whether its environment is built when the server starts. */
  prebuilt: boolean;
}

export interface PackageFound {
  name: string;
  version: string;
  description: string;
}

/** Label and colour of each outcome. */
export const OUTCOMES: Record<Outcome, { words: string; tone: Tone }> = {
  ok: { words: "OK", tone: "good" },
  dependencies_failed: { words: "Packages failed", tone: "bad" },
  compile_failed: { words: "Compilation failed", tone: "bad" },
  run_failed: { words: "Run failed", tone: "bad" },
  wrong_output: { words: "Wrong output", tone: "bad" },
  internal_error: { words: "Internal error", tone: "bad" },
};

export type Tone = "good" | "bad" | "busy" | "plain";

const STATUSES: Record<Status, { words: string; tone: Tone }> = {
  queued: { words: "Queued", tone: "busy" },
  started: { words: "Installing packages…", tone: "busy" },
  dependencies_installed: { words: "Packages ready", tone: "busy" },
  compiled: { words: "Running", tone: "busy" },
  finished: { words: "Finished", tone: "plain" },
  cancelled: { words: "Cancelled", tone: "plain" },
  rejected: { words: "Rejected", tone: "bad" },
};

/** Return the label and colour of a submission's state. */
export function labelOf(status: Status, outcome: Outcome | null): { words: string; tone: Tone } {
  return outcome !== null ? OUTCOMES[outcome] : STATUSES[status];
}

export function isFinal(status: Status): boolean {
  return status === "finished" || status === "cancelled" || status === "rejected";
}
