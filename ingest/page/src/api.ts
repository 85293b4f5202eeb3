// Requests to the server: error responses become `ProblemError`, and a 401 makes the page ask for a key.

import { askForKey, key } from "./key";
import type { Answer, FieldError, Language, Listed, PackageFound, Problem, SubmissionRequest } from "./model";

export class ProblemError extends Error {
  readonly status: number;
  readonly errors: FieldError[];

  constructor(problem: Problem) {
    super(problem.detail);
    this.status = problem.status;
    this.errors = problem.errors;
  }
}

/** The server did not respond; the request may have had an effect. */
export class UnreachableError extends Error {}

export interface Options extends RequestInit {
  /** Whether the page asks for a key if the server requires one; true by default. */
  asksForKey?: boolean;
}

/**
 * Send a request and return its response, which is neither 4xx nor 5xx.
 * @throws ProblemError, UnreachableError; AbortError if `signal` is aborted.
 */
export async function ask(path: string, { asksForKey = true, ...options }: Options = {}): Promise<Response> {
  for (;;) {
    const headers = new Headers(options.headers);
    const used = key();
    if (used !== null) headers.set("Authorization", `Bearer ${used}`);
    const response = await send(path, { ...options, headers });
    if (response.status === 401 && asksForKey && (await askForKey(used))) continue;
    if (!response.ok) throw await problem(response);
    return response;
  }
}

async function send(path: string, options: RequestInit): Promise<Response> {
  try {
    return await fetch(path, { cache: "no-cache", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new UnreachableError("The server does not answer. Is it running?");
  }
}

async function problem(response: Response): Promise<ProblemError> {
  const about = { type: "", title: response.statusText, status: response.status, errors: [] };
  try {
    const body = (await response.json()) as Partial<Problem>;
    const detail = body.detail ?? `${response.status} ${response.statusText}`;
    return new ProblemError({ ...about, ...body, detail, errors: body.errors ?? [] });
  } catch {
    return new ProblemError({
      ...about,
      detail: `the server answered ${response.status} ${response.statusText}`,
    });
  }
}

async function json<T>(path: string, options?: Options): Promise<T> {
  return (await (await ask(path, options)).json()) as T;
}

export const submissionPath = (id: string, ...below: string[]): string =>
  ["/submissions", ...[id, ...below].map(encodeURIComponent)].join("/");

const TRIES = 3;
const PAUSE_MS = 1000;

/** Submit with a client-made id, so that a retry never creates a second submission. */
export async function submit(request: SubmissionRequest & { id: string }): Promise<Answer> {
  const body = JSON.stringify(request);
  for (let left = TRIES; ; left -= 1) {
    try {
      return await json("/submissions?interactive=true", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body,
      });
    } catch (error) {
      const passing =
        error instanceof UnreachableError || (error instanceof ProblemError && error.status === 503);
      if (!passing || left === 1) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

export const cancel = (id: string): Promise<Answer> => json(submissionPath(id), { method: "DELETE" });
export const getAnswer = (id: string, options?: Options): Promise<Answer> =>
  json(submissionPath(id), options);
export const getRequest = (id: string): Promise<SubmissionRequest> => json(submissionPath(id, "request"));

export async function getOutput(id: string, testCase: number, name: string): Promise<Blob> {
  const path = submissionPath(id, "outputs", String(testCase));
  const file = name.split("/").map(encodeURIComponent).join("/");
  return (await ask(`${path}/${file}`)).blob();
}

export async function list(limit: number): Promise<Listed[]> {
  return (await json<{ submissions: Listed[] }>(`/submissions?limit=${limit}`)).submissions;
}

export function findPackages(
  words: string,
  limit: number,
  signal: AbortSignal,
): Promise<{ total: number; packages: PackageFound[] }> {
  return json(`/packages?${new URLSearchParams({ q: words, limit: String(limit) })}`, { signal });
}

export async function getLanguages(): Promise<Language[]> {
  return (await json<{ languages: Language[] }>("/languages", { asksForKey: false })).languages;
}

export const getText = async (path: string): Promise<string> => (await ask(path)).text();
export const getJson = json;

/** Return a random id, such as that of a new submission. */
export function newId(): string {
  const random = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
