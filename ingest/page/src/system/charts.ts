// Line charts over time, by uPlot. The legend shows the last values for screen readers, which see no canvas.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { h } from "../dom";

export interface Line {
  name: string;
  /** Name of a colour in style.css. */
  colour: string;
  /** One value per time, null if it is unknown. */
  value: (number | null)[];
}

const HEIGHT_PX = 190;
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];

export class Chart {
  readonly element: HTMLElement;
  readonly #plot = h("div", { class: "plot", "aria-hidden": "true" });
  readonly #legend = h("ul", { class: "legend" });
  readonly #values: HTMLElement[];
  #chart: uPlot | null = null;
  #data: uPlot.AlignedData = [[]];

  constructor(
    title: string,
    private readonly lines: { name: string; colour: string }[],
    private readonly words: (value: number, decimals?: number) => string,
    private readonly whole: boolean,
  ) {
    this.#values = lines.map(() => h("strong", {}, "–"));
    const entries = lines.map(({ name, colour }, index) => {
      const swatch = h("span", { class: `swatch ${colour}`, "aria-hidden": "true" });
      return h("li", {}, swatch, `${name} `, this.#values[index]);
    });
    this.#legend.append(...entries);
    const id = `chart-${title.replaceAll(" ", "-")}`;
    this.element = h(
      "section",
      { class: "card chart", "aria-labelledby": id },
      h("h2", { id }, title),
      this.#plot,
      this.#legend,
    );
  }

  /** Show one row of values for each line; `times` are in seconds since 1970. */
  show(times: number[], rows: (number | null)[][]): void {
    this.#data = [times, ...rows];
    for (const [index, row] of rows.entries()) {
      const last = row.at(-1) ?? null;
      const element = this.#values[index];
      if (element !== undefined) element.textContent = last === null ? "–" : this.words(last);
    }
    if (this.#chart === null) this.draw();
    else this.#chart.setData(this.#data);
  }

  /** Draw the chart again, in the present width and colours. */
  draw(): void {
    this.#chart?.destroy();
    const width = this.#plot.clientWidth;
    if (width === 0) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim();
    const axis = {
      stroke: colour("muted"),
      grid: { stroke: colour("line"), width: 1 },
      ticks: { show: false },
      font: `12px ${style.getPropertyValue("--sans")}`,
    };
    const { words } = this;
    this.#chart = new uPlot(
      {
        width,
        height: HEIGHT_PX,
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 28, 0, 0],
        scales: { y: { range: (_, __, most) => [0, most > 0 ? most * 1.15 : 1] } },
        axes: [
          { ...axis, size: 26, space: 70, values: (_, ticks) => ticks.map(clock) },
          {
            ...axis,
            size: 62,
            space: 36,
            ...(this.whole ? { incrs: WHOLE } : {}),
            values: (_, ticks, __, ___, step) => ticks.map((tick) => words(tick, decimalsOf(step))),
          },
        ],
        series: [
          {},
          ...this.lines.map((line) => ({
            stroke: colour(line.colour),
            width: 2,
            fill: `${colour(line.colour)}1f`,
            points: { show: false },
          })),
        ],
      },
      this.#data,
      this.#plot,
    );
  }

  destroy(): void {
    this.#chart?.destroy();
    this.#chart = null;
  }
}

/** Return the number of decimals of a step, so that no two axis labels are equal. */
function decimalsOf(step: number): number {
  return (String(Number(step.toPrecision(3))).split(".")[1] ?? "").length;
}

function clock(time: number): string {
  return new Date(time * 1000).toLocaleTimeString([], { hour12: false });
}
