// The draft of a submission as the form holds it, and its conversion to a request and back.

import type {
  Comparison,
  Dependencies,
  LimitedStage,
  Program,
  SourceFile,
  StageLimits,
  SubmissionRequest,
  TestCase,
} from "../model";
import { ordinary } from "./older";

export interface DraftCase {
  input: string;
  args: string;
  /** Expected output; null if the output is not compared. */
  expected: string | null;
  points: number | null;
  /** Fields that the form does not edit. */
  rest: Pick<TestCase, "input_file" | "encoding" | "hidden">;
}

export interface Draft {
  /** Name of the preset that the draft was made of, or null. */
  language: string | null;
  files: SourceFile[];
  /** Names of packages; ignored if `nix`, a Nix expression, is not null. */
  packages: string[];
  nix: string | null;
  /** Pinned packages of other registries, separated by spaces. */
  pypi: string;
  npm: string;
  compile: string;
  run: string;
  /** Patterns of output files, separated by spaces. */
  outputs: string;
  cases: DraftCase[];
  comparison: Comparison;
  /** Whether the test cases after the first that is not accepted do not run. */
  stop: boolean;
  /** Limits that differ from the defaults. */
  limits: Partial<Record<LimitedStage, StageLimits>>;
  /** Environment variables, one `NAME=value` a line. */
  env: string;
  /** Tags, separated by spaces. */
  tags: string;
  callback: string;
  /** Fields that the form does not edit. */
  rest: Pick<SubmissionRequest, "callback_answer">;
}

export function emptyCase(): DraftCase {
  return { input: "", args: "", expected: null, points: null, rest: {} };
}

export function requestOf(draft: Draft): SubmissionRequest {
  const request: SubmissionRequest = { ...draft.rest, files: draft.files, run: draft.run };
  const dependencies = dependenciesOf(draft);
  if (Object.keys(dependencies).length > 0) request.dependencies = dependencies;
  if (draft.compile.trim() !== "") request.compile = draft.compile;
  if (draft.env.trim() !== "") request.env = variables(draft.env);
  const outputs = words(draft.outputs);
  if (outputs.length > 0) request.outputs = outputs;
  request.test_cases = draft.cases.map((one) => ({
    ...one.rest,
    ...(one.rest.input_file === undefined ? { input: one.input } : {}),
    ...(one.args.trim() === "" ? {} : { args: words(one.args) }),
    ...(one.expected === null ? {} : { expected_output: one.expected }),
    ...(one.points === null ? {} : { points: one.points }),
  }));
  if (draft.comparison.mode !== "lines") request.comparison = draft.comparison;
  if (draft.stop) request.stop_at_first_failure = true;
  request.limits = draft.limits;
  const tags = words(draft.tags);
  if (tags.length > 0) request.tags = tags;
  if (draft.callback.trim() !== "") request.callback_url = draft.callback.trim();
  return ordinary(request);
}

function dependenciesOf(draft: Draft): Dependencies {
  const pypi = words(draft.pypi);
  const npm = words(draft.npm);
  return {
    ...(draft.nix !== null
      ? { nix: draft.nix }
      : draft.packages.length > 0
        ? { packages: draft.packages }
        : {}),
    ...(pypi.length > 0 ? { pypi } : {}),
    ...(npm.length > 0 ? { npm } : {}),
  };
}

/** Convert a request to a draft, which keeps the limits that differ from `standard`, the defaults. */
export function draftOf(asked: SubmissionRequest, standard: Draft["limits"] = {}): Draft {
  const request = ordinary(asked);
  const cases = (request.test_cases ?? []).map(draftCase);
  return {
    language: request.language ?? null,
    // A stored file has both its content and `from`, its origin; a request has either.
    files: (request.files ?? []).map(({ name, content, encoding = "utf8" }) => ({ name, content, encoding })),
    packages: request.dependencies?.packages ?? [],
    nix: request.dependencies?.nix ?? null,
    pypi: (request.dependencies?.pypi ?? []).join(" "),
    npm: (request.dependencies?.npm ?? []).join(" "),
    compile: script(request.compile),
    run: script(request.run),
    outputs: (request.outputs ?? []).map(quoted).join(" "),
    cases: cases.length > 0 ? cases : [emptyCase()],
    comparison: request.comparison ?? { mode: "lines" },
    stop: request.stop_at_first_failure ?? false,
    limits: different(request.limits ?? {}, standard),
    env: Object.entries(request.env ?? {})
      .map(([name, value]) => `${name}=${value}`)
      .join("\n"),
    tags: (request.tags ?? []).map(quoted).join(" "),
    callback: request.callback_url ?? "",
    rest: request.callback_answer === true ? { callback_answer: true } : {},
  };
}

function draftCase(one: TestCase): DraftCase {
  const { input_file, encoding = "utf8", hidden = false } = one;
  return {
    input: one.input ?? "",
    args: (one.args ?? []).map(quoted).join(" "),
    expected: one.expected_output ?? null,
    points: one.points ?? null,
    rest: {
      ...(input_file === undefined || input_file === null ? {} : { input_file }),
      ...(encoding === "utf8" ? {} : { encoding }),
      ...(hidden ? { hidden } : {}),
    },
  };
}

function different(limits: Draft["limits"], standard: Draft["limits"]): Draft["limits"] {
  const result: Draft["limits"] = {};
  for (const [stage, values] of Object.entries(limits) as [LimitedStage, StageLimits][]) {
    const changed = Object.entries(values).filter(([name, value]) => standard[stage]?.[name] !== value);
    if (changed.length > 0) result[stage] = Object.fromEntries(changed);
  }
  return result;
}

function script(program: Program | null | undefined): string {
  if (program === null || program === undefined) return "";
  return typeof program === "string" ? program : program.map(quoted).join(" ");
}

function variables(text: string): Record<string, string> {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return Object.fromEntries(
    lines.map((line) => {
      const [name = "", ...value] = line.split("=");
      return [name.trim(), value.join("=")];
    }),
  );
}

/** Quote a word for a shell. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./*?-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** Split a line into words; single and double quotes may enclose spaces. */
export function words(line: string): string[] {
  const found = line.match(/(?:'[^']*'|"[^"]*"|\\.|[^\s'"\\])+/g) ?? [];
  return found.map((word) =>
    word.replace(/'([^']*)'|"([^"]*)"|\\(.)/g, (_, single?: string, double?: string, escaped?: string) => {
      return single ?? double ?? escaped ?? "";
    }),
  );
}
