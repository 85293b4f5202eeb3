// The events of one submission as a timeline.

import { fill, h } from "../dom";
import { follow } from "../events";
import { type Answer, type EventPayload, labelOf } from "../model";
import { bytes, harmless, plural, seconds } from "../text";

interface Moment {
  name: string;
  at: number; // ms
  data: EventPayload;
}

const NAMES: Record<string, string> = {
  requested: "Requested",
  started: "Started by a worker",
  dependencies_installed: "Packages installed",
  compiled: "Compiled",
  finished: "Finished",
  handed_back: "Handed back by its worker",
  lease_expired: "The lease of its worker expired",
  cancelled: "Cancelled",
  rejected: "Rejected",
  unreadable: "An unreadable record",
};

const BAD = new Set(["lease_expired", "rejected", "unreadable"]);

/** Phase between an event and the next one. */
const PHASES: Record<string, string> = {
  requested: "waiting",
  handed_back: "waiting",
  lease_expired: "waiting",
  started: "packages",
  dependencies_installed: "running",
  compiled: "running",
};
const PHASE_NAMES: Record<string, string> = {
  waiting: "Waiting for a worker",
  packages: "Installing packages",
  compiling: "Compiling",
  running: "Running",
};

/** Show the view and return a function that closes it. */
export function historyView(main: HTMLElement, id: string): () => void {
  const ending = new AbortController();
  const pill = h("span", { class: "pill busy" }, "…");
  const note = h("p", { class: "hint", role: "status" });
  const spans = h("div", { class: "spans" });
  const list = h("ol", { class: "timeline" });
  const moments: Moment[] = [];
  let pieces = 0;
  fill(
    main,
    h(
      "div",
      { class: "page-head" },
      h("h1", {}, "History"),
      pill,
      h("a", { href: `#/s/${id}`, class: "mono" }, id),
    ),
    note,
    h(
      "section",
      { class: "card", "aria-label": "Where the time went" },
      h("h2", {}, "Where the time went"),
      spans,
    ),
    h("section", { class: "card", "aria-label": "Events" }, h("h2", {}, "Events"), list),
  );

  const draw = (): void => {
    fill(list, ...moments.map((moment, index) => item(moment, moments[0], moments[index - 1])));
    fill(spans, ...durations(moments));
  };
  const ended = (answer: Answer): void => {
    const { words, tone } = labelOf(answer.status, answer.outcome);
    pill.textContent = words;
    pill.className = `pill ${tone}`;
    const memory = Math.max(0, ...answer.run.map((stage) => stage.memory_bytes));
    note.textContent =
      answer.run.length === 0
        ? "The program did not run."
        : `${plural(answer.run.length, "test case")}, at most ${bytes(memory)} of memory each.`;
  };
  const read = async (): Promise<void> => {
    for await (const event of follow(id, ending.signal, (why) => (note.textContent = why))) {
      if (event.name === "end") ended(event.data);
      else if (event.name === "output") {
        pieces += 1;
        note.textContent = `${plural(pieces, "output chunk")} received so far.`;
      } else if (event.fact !== "waiting") {
        // It is no fact of the log, and recurs until the program runs.
        moments.push({ name: event.fact, at: Date.parse(event.data.time), data: event.data });
        if (event.data.status !== null) pill.textContent = labelOf(event.data.status, null).words;
        draw();
      }
    }
  };
  read().catch((error: Error) => {
    if (ending.signal.aborted) return;
    pill.textContent = "No answer";
    pill.className = "pill bad";
    note.className = "error";
    note.textContent = error.message;
  });
  return () => ending.abort();
}

function item(
  { name, at, data }: Moment,
  first: Moment | undefined,
  before: Moment | undefined,
): HTMLElement {
  const since = before === undefined ? "" : `+${seconds(Math.max(0, at - before.at) / 1000)}`;
  const refused = data.refused !== null;
  const bad = BAD.has(name) || (name === "finished" && data.fact["outcome"] !== "ok");
  return h(
    "li",
    { class: refused ? "moment refused" : bad ? "moment bad" : `moment ${name}` },
    h(
      "div",
      { class: "moment-head" },
      h("strong", {}, NAMES[name] ?? name),
      h("span", { class: "since" }, since),
      h("time", { datetime: data.time, title: data.time }, first === undefined ? "" : clock(at)),
    ),
    refused && h("p", { class: "hint" }, `Changed nothing: ${data.refused}`),
    h(
      "dl",
      { class: "payload" },
      ...payload(name === "finished" ? withoutDependencies(data.fact) : data.fact),
    ),
  );
}

/** Leave out the dependencies, which an earlier event or the answer contains. */
function withoutDependencies({ dependencies: _, ...rest }: EventPayload["fact"]): EventPayload["fact"] {
  return rest;
}

function payload(fact: Record<string, unknown>): HTMLElement[] {
  return Object.entries(fact).flatMap(([key, value]) => {
    if (value === "" || value === null) return [];
    if (typeof value === "object" && !Array.isArray(value)) return payload(value as Record<string, unknown>);
    return [h("dt", {}, key.replace(/_s$/, "").replaceAll("_", " ")), h("dd", {}, words(key, value))];
  });
}

function words(key: string, value: unknown): string {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number" && key.endsWith("_s")) return seconds(value);
  return harmless(typeof value === "object" ? JSON.stringify(value) : String(value));
}

function clock(ms: number): string {
  const moment = new Date(ms);
  return `${moment.toLocaleTimeString([], { hour12: false })}.${String(moment.getMilliseconds()).padStart(3, "0")}`;
}

/** Return a bar of the phases' durations, and a legend with the same in words. */
function durations(moments: Moment[]): HTMLElement[] {
  const accepted = moments.filter((moment) => moment.data.refused === null);
  const compiles = accepted.some((moment) => moment.name === "compiled");
  const total = new Map<string, number>();
  const bar = h("div", { class: "span-bar", "aria-hidden": "true" });
  for (const [index, moment] of accepted.slice(0, -1).entries()) {
    const next = accepted[index + 1];
    let phase = PHASES[moment.name];
    if (next === undefined || phase === undefined) continue;
    if (compiles && moment.name === "dependencies_installed") phase = "compiling";
    const took = Math.max(0, next.at - moment.at);
    total.set(phase, (total.get(phase) ?? 0) + took);
    const part = h("span", { class: `span ${phase}` });
    part.style.setProperty("flex-grow", String(Math.max(took, 1)));
    bar.append(part);
  }
  const legend = [...total].map(([phase, took]) =>
    h(
      "li",
      {},
      h("span", { class: `swatch ${phase}`, "aria-hidden": "true" }),
      `${PHASE_NAMES[phase] ?? phase} `,
      h("strong", {}, seconds(took / 1000)),
    ),
  );
  return [bar, h("ul", { class: "legend" }, ...legend)];
}
