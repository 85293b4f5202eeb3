// The event stream of a submission. `EventSource` cannot send an API key, so this module parses the stream.
// https://html.spec.whatwg.org/multipage/server-sent-events.html

import { ask, ProblemError, submissionPath } from "./api";
import type { Answer, EventPayload, OutputChunk } from "./model";

export type SubmissionEvent =
  | { name: "end"; data: Answer }
  | { name: "output"; data: OutputChunk }
  | { name: "fact"; fact: string; data: EventPayload };

const PAUSES_MS = [200, 500, 1000, 2000, 5000];
const SILENT_MS = 60_000; // the server sends a comment every 15 s

/**
 * Yield past and future events up to the end. A broken stream is resumed after its last event.
 * @throws ProblemError if the server refuses; AbortError if `signal` is aborted.
 */
export async function* follow(
  id: string,
  signal: AbortSignal,
  broke: (why: string) => void,
): AsyncGenerator<SubmissionEvent> {
  let lastId: string | null = null;
  for (let failures = 0; ; failures += 1) {
    try {
      for await (const fields of stream(id, lastId, signal)) {
        failures = 0;
        lastId = fields.get("id") ?? lastId;
        const event = eventOf(fields);
        yield event;
        if (event.name === "end") return;
      }
      if (lastId === "end") return;
    } catch (error) {
      if (signal.aborted || (error instanceof ProblemError && error.status < 500)) throw error;
    }
    broke("Connection lost, trying again…");
    await pause(PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)] ?? 0, signal);
  }
}

function eventOf(fields: Map<string, string>): SubmissionEvent {
  const name = fields.get("event") ?? "";
  const data: unknown = JSON.parse(fields.get("data") ?? "null");
  if (name === "end") return { name, data: data as Answer };
  if (name === "output") return { name, data: data as OutputChunk };
  return { name: "fact", fact: name, data: data as EventPayload };
}

async function* stream(
  id: string,
  lastId: string | null,
  signal: AbortSignal,
): AsyncGenerator<Map<string, string>> {
  const silent = new AbortController();
  const headers: Record<string, string> = { Accept: "text/event-stream" };
  if (lastId !== null) headers["Last-Event-ID"] = lastId;
  const response = await ask(submissionPath(id, "events"), {
    headers,
    signal: AbortSignal.any([signal, silent.signal]),
  });
  if (response.body === null || response.status === 204) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let fields = new Map<string, string>();
  let rest = "";
  for (;;) {
    const timer = setTimeout(() => silent.abort(), SILENT_MS);
    const { value, done } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (fields.has("data")) yield fields;
        fields = new Map();
      } else if (!line.startsWith(":")) {
        const colon = line.indexOf(": ");
        fields.set(line.slice(0, colon), line.slice(colon + 2));
      }
    }
  }
}

function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, delayMs);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}
