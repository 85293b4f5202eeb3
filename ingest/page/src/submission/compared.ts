// The expected output beside the printed output, line by line.

import { h } from "../dom";
import type { Comparison } from "../model";
import { harmless } from "../text";

const LINES = 200;

type Same = (line: string, other: string) => boolean;

const tokens = (line: string): string[] => line.trim().split(/\s+/);
const near: Same = (one, other) => {
  const [left, right] = [Number(one), Number(other)];
  return one === other || Math.abs(left - right) <= 1e-6 * Math.max(1, Math.abs(left));
};
const eachToken =
  (same: Same): Same =>
  (line, other) => {
    const [left, right] = [tokens(line), tokens(other)];
    return left.length === right.length && left.every((token, index) => same(token, right[index] ?? ""));
  };
const trimmed: Same = (line, other) => line.trimEnd() === other.trimEnd();

/** Whether two lines count as equal. The verdict is the server's; these only choose what is marked. */
const SAME: Record<Comparison["mode"], Same> = {
  lines: trimmed,
  exact: (line, other) => line === other,
  tokens: eachToken((token, other) => token === other),
  floats: eachToken(near),
  checker: trimmed,
};

/** Show the lines around the first difference and after it; different lines are marked. */
export function compared(expected: string, printed: string, mode: Comparison["mode"]): HTMLElement {
  const linesOf = (text: string): string[] => (mode === "exact" ? text : text.trimEnd()).split("\n");
  const left = linesOf(expected);
  const right = linesOf(printed);
  const same = (line: string, other: string | undefined): boolean =>
    other !== undefined && SAME[mode](line, other);
  const found = left.findIndex((line, index) => !same(line, right[index]));
  const first = found >= 0 ? found : left.length;
  const differs = first < Math.max(left.length, right.length);
  const from = differs ? Math.max(0, first - 3) : 0;
  const column = (title: string, own: string[], other: string[]): HTMLElement => {
    const shown = own.slice(from, from + LINES);
    const lines = shown.map((line, index) => {
      const text = `${harmless(line)}\n`;
      return same(line, other[from + index]) ? text : h("mark", {}, line === "" ? "⏎\n" : text);
    });
    const missing = shown.length < other.slice(from, from + LINES).length ? h("mark", {}, "(nothing)") : null;
    return h(
      "div",
      {},
      h("h3", {}, title),
      h("pre", { class: "printed", tabindex: 0, role: "group", "aria-label": title }, ...lines, missing),
    );
  };
  const words = differs ? `The output differs from line ${first + 1} on.` : "The output is not accepted.";
  return h(
    "div",
    { class: "compared" },
    // A checker decides by other rules than the lines that are marked.
    h("p", { class: "error" }, mode === "checker" ? "The checker does not accept the output." : words),
    h("div", { class: "pair" }, column("Expected", left, right), column("Printed", right, left)),
  );
}
