// The user's own runs, kept in the browser: enough to list them. The server has code and results.

import { getAnswer, ProblemError } from "../api";
import { read, remove, write } from "../kept";
import { isFinal, type Outcome, type Status } from "../model";

const NAME = "runs.1"; // raise the number when the format changes
const RUNS = 50;
const TITLE_CHARACTERS = 60;

export interface OwnRun {
  id: string;
  at: number; // ms since 1970
  /** Language, or else the name of the first file. */
  title: string;
  status: Status;
  outcome: Outcome | null;
}

/** Return the runs, latest first. */
export const ownRuns = (): OwnRun[] => read<OwnRun[]>(NAME) ?? [];

export function addRun(id: string, title: string): void {
  const run: OwnRun = {
    id,
    at: Date.now(),
    title: title.slice(0, TITLE_CHARACTERS),
    status: "queued",
    outcome: null,
  };
  write(NAME, [run, ...ownRuns()].slice(0, RUNS));
}

/** Keep the new status of a run, if it is one of the user's. Return whether it differs. */
export function updateRun(id: string, status: Status, outcome: Outcome | null): boolean {
  const runs = ownRuns();
  const run = runs.find((one) => one.id === id);
  if (run === undefined || (run.status === status && run.outcome === outcome)) return false;
  Object.assign(run, { status, outcome });
  return write(NAME, runs);
}

export const forgetRuns = (): void => remove(NAME);

/** Ask the server for the status of the runs that had not ended when the page was closed. */
export async function refreshRuns(): Promise<void> {
  for (const { id } of ownRuns().filter((run) => !isFinal(run.status))) {
    try {
      const { status, outcome } = await getAnswer(id, { asksForKey: false });
      updateRun(id, status, outcome);
    } catch (error) {
      const unknown = error instanceof ProblemError && error.status === 404;
      if (unknown)
        write(
          NAME,
          ownRuns().filter((run) => run.id !== id),
        );
    }
  }
}
