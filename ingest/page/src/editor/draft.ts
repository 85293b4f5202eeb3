// The draft of a submission as the form holds it, and its conversion to a request and back.

import type {
  Dependencies,
  LimitedStage,
  Program,
  SourceFile,
  StageLimits,
  SubmissionRequest,
} from "../model";
import { ordinary } from "./older";

export interface DraftCase {
  input: string;
  args: string;
  /** Expected output; null if the output is not compared. */
  expected: string | null;
}

export interface Draft {
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
  /** Limits that differ from the defaults. */
  limits: Partial<Record<LimitedStage, StageLimits>>;
  /** Environment variables, one `NAME=value` a line. */
  env: string;
  /** Tags, separated by spaces. */
  tags: string;
  callback: string;
}

export function emptyCase(): DraftCase {
  return { input: "", args: "", expected: null };
}

export function requestOf(draft: Draft): SubmissionRequest {
  const request: SubmissionRequest = { files: draft.files, run: draft.run };
  const dependencies = dependenciesOf(draft);
  if (Object.keys(dependencies).length > 0) request.dependencies = dependencies;
  if (draft.compile.trim() !== "") request.compile = draft.compile;
  if (draft.env.trim() !== "") request.env = variables(draft.env);
  const outputs = words(draft.outputs);
  if (outputs.length > 0) request.outputs = outputs;
  request.test_cases = draft.cases.map((one) => ({
    input: one.input,
    ...(one.args.trim() === "" ? {} : { args: words(one.args) }),
    ...(one.expected === null ? {} : { expected_output: one.expected }),
  }));
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
  const cases = (request.test_cases ?? []).map((one) => ({
    input: one.input ?? "",
    args: (one.args ?? []).map(quoted).join(" "),
    expected: one.expected_output ?? null,
  }));
  return {
    files: request.files ?? [],
    packages: request.dependencies?.packages ?? [],
    nix: request.dependencies?.nix ?? null,
    pypi: (request.dependencies?.pypi ?? []).join(" "),
    npm: (request.dependencies?.npm ?? []).join(" "),
    compile: script(request.compile),
    run: script(request.run),
    outputs: (request.outputs ?? []).map(quoted).join(" "),
    cases: cases.length > 0 ? cases : [emptyCase()],
    limits: different(request.limits ?? {}, standard),
    env: Object.entries(request.env ?? {})
      .map(([name, value]) => `${name}=${value}`)
      .join("\n"),
    tags: (request.tags ?? []).map(quoted).join(" "),
    callback: request.callback_url ?? "",
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
function quoted(word: string): string {
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
