// The view of the whole system over the last minutes.

import { getJson, list, ProblemError } from "../api";
import { announce, fill, h } from "../dom";
import { type Listed, labelOf } from "../model";
import { seconds } from "../text";
import { Chart } from "./charts";

/** Response of `GET /system`, as far as the page shows it. */
export interface Reading {
  time: string;
  waiting: number;
  running: number;
  waiting_for_environment: number;
  workers: number;
  leases: number;
  running_by_worker: Record<string, number>;
  builds: { waiting: number; running: number };
  last_minute: {
    finished: number;
    finished_per_s: number;
    outcomes: Record<string, number>;
    queue_wait_s: { p50: number; p99: number } | null;
    answer_s: { p50: number; p99: number } | null;
  };
}

const EVERY_MS = 2000;
const KEPT = 300;
const SHOWN = 20; // submissions
/** Readings outlive the view, so that its charts are filled when it is opened again. */
const readings: Reading[] = [];

const count = (value: number): string => String(Math.round(value * 10) / 10);

const CHARTS: {
  title: string;
  words: (value: number, decimals?: number) => string;
  lines: [name: string, colour: string, of: (reading: Reading) => number | null][];
}[] = [
  {
    title: "Throughput",
    words: (value, decimals = 2) => `${Number(value.toFixed(decimals))}/s`,
    lines: [["Finished", "chart-1", (reading) => reading.last_minute.finished_per_s]],
  },
  {
    title: "Queue",
    words: count,
    lines: [
      ["Waiting", "chart-2", (reading) => reading.waiting],
      ["Running", "chart-1", (reading) => reading.running],
      ["Waiting for environments", "chart-3", (reading) => reading.waiting_for_environment],
    ],
  },
  {
    title: "Time to the answer",
    words: seconds,
    lines: [
      ["99 of 100 within", "chart-2", (reading) => reading.last_minute.answer_s?.p99 ?? null],
      ["half within", "chart-1", (reading) => reading.last_minute.answer_s?.p50 ?? null],
    ],
  },
  {
    title: "Wait in the queue",
    words: seconds,
    lines: [
      ["99 of 100 within", "chart-2", (reading) => reading.last_minute.queue_wait_s?.p99 ?? null],
      ["half within", "chart-1", (reading) => reading.last_minute.queue_wait_s?.p50 ?? null],
    ],
  },
  {
    title: "Workers",
    words: count,
    lines: [
      ["Workers", "chart-1", (reading) => reading.workers],
      ["Leases", "chart-2", (reading) => reading.leases],
    ],
  },
  {
    title: "Builds of packages",
    words: count,
    lines: [
      ["Waiting", "chart-2", (reading) => reading.builds.waiting],
      ["Running", "chart-1", (reading) => reading.builds.running],
    ],
  },
];

/** Show the view and return a function that closes it. */
export function systemView(main: HTMLElement): () => void {
  const charts = CHARTS.map(
    ({ title, words, lines }) =>
      new Chart(
        title,
        lines.map(([name, colour]) => ({ name, colour })),
        words,
        words === count,
      ),
  );
  const tiles = h("dl", { class: "tiles" });
  const note = h("p", { class: "error", role: "alert", hidden: true });
  const rows = h("tbody");
  const watched = h("div", { class: "charts" }, ...charts.map((chart) => chart.element));
  fill(
    main,
    h("div", { class: "page-head" }, h("h1", {}, "System")),
    note,
    tiles,
    watched,
    h(
      "section",
      { class: "card", "aria-labelledby": "latest" },
      h("h2", { id: "latest" }, "Latest submissions"),
      h(
        "div",
        { class: "table", tabindex: 0, role: "group", "aria-labelledby": "latest" },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ...["Submission", "Status", "Created", "Took", "Tags", ""].map((name) =>
                name === "" ? h("td") : h("th", { scope: "col" }, name),
              ),
            ),
          ),
          rows,
        ),
      ),
    ),
  );

  const draw = (): void => {
    const last = readings.at(-1);
    if (last === undefined) return;
    drawTiles(tiles, last);
    const times = readings.map((reading) => Date.parse(reading.time) / 1000);
    for (const [index, chart] of charts.entries()) {
      chart.show(
        times,
        (CHARTS[index]?.lines ?? []).map(([, , of]) => readings.map(of)),
      );
    }
  };
  const wrong = (error: unknown): void => {
    const refused = error instanceof ProblemError && error.status < 500;
    note.textContent = refused ? error.message : `The figures may be outdated: ${(error as Error).message}`;
    note.hidden = false;
    if (refused && error.status !== 429) ended = true; // another request would be refused as well
  };

  let timer = 0;
  let ended = false;
  const again = async (): Promise<void> => {
    note.hidden = true;
    await Promise.all([
      list(SHOWN).then((latest) => fill(rows, ...latest.map(row)), wrong),
      getJson<Reading>("/system")
        .then((reading) => {
          if (readings.at(-1)?.time !== reading.time) readings.push(reading);
          readings.splice(0, readings.length - KEPT);
          draw();
        })
        .catch((error: unknown) => {
          // the key lacks the scope for these figures: hide the charts instead of showing empty ones
          if (error instanceof ProblemError && error.status === 403) watched.hidden = true;
          wrong(error);
        }),
    ]);
    if (!ended) timer = setTimeout(() => void again(), EVERY_MS);
  };
  const redraw = (): void => charts.forEach((chart) => chart.draw());
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", redraw);
  addEventListener("resize", redraw);
  draw();
  void again();
  announce("System");
  return () => {
    ended = true;
    clearTimeout(timer);
    dark.removeEventListener("change", redraw);
    removeEventListener("resize", redraw);
    charts.forEach((chart) => chart.destroy());
  };
}

function drawTiles(
  tiles: HTMLElement,
  {
    waiting,
    waiting_for_environment: forEnvironments,
    running,
    workers,
    builds,
    last_minute: minute,
  }: Reading,
): void {
  const ok = minute.outcomes["ok"] ?? 0;
  const facts: [string, string][] = [
    ["Waiting", String(waiting)],
    ["Waiting for environments", String(forEnvironments)],
    ["Running", String(running)],
    ["Workers", String(workers)],
    ["Builds", String(builds.waiting + builds.running)],
    ["Ended, last minute", String(minute.finished)],
    ["of them ok", minute.finished === 0 ? "–" : `${Math.round((100 * ok) / minute.finished)} %`],
  ];
  fill(
    tiles,
    ...facts.map(([name, value]) => h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, value))),
  );
}

function row(listed: Listed): HTMLElement {
  const { words, tone } = labelOf(listed.status, listed.outcome);
  const took =
    listed.finished_at === null
      ? null
      : (Date.parse(listed.finished_at) - Date.parse(listed.created_at)) / 1000;
  return h(
    "tr",
    {},
    h("td", {}, h("a", { href: `#/s/${listed.id}`, class: "mono" }, listed.id)),
    h("td", {}, h("span", { class: `pill ${tone}` }, words)),
    h(
      "td",
      {},
      h(
        "time",
        { datetime: listed.created_at },
        new Date(listed.created_at).toLocaleString([], { hour12: false }),
      ),
    ),
    h("td", {}, took === null ? "–" : seconds(took)),
    h("td", {}, listed.tags.join(" ")),
    h(
      "td",
      {},
      h("a", { href: `#/s/${listed.id}/history`, "aria-label": `History of ${listed.id}` }, "History"),
    ),
  );
}
