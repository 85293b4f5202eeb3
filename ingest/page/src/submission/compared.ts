// The expected output beside the printed output, line by line.

import { h } from "../dom";
import { harmless } from "../text";

const LINES = 200;

/** Show the lines around the first difference and after it; different lines are marked. */
export function compared(expected: string, printed: string): HTMLElement {
  const left = linesOf(expected);
  const right = linesOf(printed);
  const first = firstDifference(left, right);
  const from = Math.max(0, first - 3);
  const column = (title: string, own: string[], other: string[]): HTMLElement => {
    const shown = own.slice(from, from + LINES);
    const lines = shown.map((line, index) => {
      const text = `${harmless(line)}\n`;
      return same(line, other[from + index]) ? text : h("mark", {}, line === "" ? "⏎\n" : text);
    });
    const missing =
      from + shown.length < from + other.slice(from, from + LINES).length ? h("mark", {}, "(nothing)") : null;
    return h(
      "div",
      {},
      h("h4", {}, title),
      h("pre", { class: "printed", tabindex: 0, role: "group", "aria-label": title }, ...lines, missing),
    );
  };
  return h(
    "div",
    { class: "compared" },
    h("p", { class: "error" }, `The output differs from line ${first + 1} on.`),
    h("div", { class: "pair" }, column("Expected", left, right), column("Printed", right, left)),
  );
}

function linesOf(text: string): string[] {
  return text.trimEnd().split("\n");
}

function same(line: string, other: string | undefined): boolean {
  return other !== undefined && line.trimEnd() === other.trimEnd();
}

function firstDifference(left: string[], right: string[]): number {
  const found = left.findIndex((line, index) => !same(line, right[index]));
  return found >= 0 ? found : left.length;
}
