// Limits of the stages. Names, defaults and bounds come from the server's own OpenAPI document.

import { getJson } from "../api";
import { fill, h, uniqueId } from "../dom";
import type { LimitedStage, StageLimits } from "../model";
import { bytes } from "../text";
import type { Draft } from "./draft";

interface Bounds {
  default: number;
  minimum: number;
  maximum: number;
}

type StageBounds = Record<string, Bounds>;

const MODELS: Record<LimitedStage, string> = {
  run: "RunLimits",
  compile: "CompileLimits",
  dependencies: "DependenciesLimits",
};
const TITLES: Record<LimitedStage, string> = {
  run: "Each test case",
  compile: "Compilation",
  dependencies: "Installing packages",
};

interface Document {
  components: { schemas: Record<string, { properties: StageBounds }> };
}

let loaded: Promise<Record<LimitedStage, StageBounds>> | null = null;

/** Return the bounds of all limits, which the page requests once. */
export function bounds(): Promise<Record<LimitedStage, StageBounds>> {
  loaded ??= getJson<Document>("/openapi.json").then(
    ({ components: { schemas } }) =>
      Object.fromEntries(
        Object.entries(MODELS).map(([stage, model]) => [stage, schemas[model]?.properties ?? {}]),
      ) as Record<LimitedStage, StageBounds>,
  );
  loaded.catch(() => {
    loaded = null;
  });
  return loaded;
}

/** Return the default limits, which apply to a request without limits. */
export async function standardLimits(): Promise<Record<LimitedStage, StageLimits>> {
  const all = Object.entries(await bounds()).map(([stage, stageBounds]) => [
    stage,
    Object.fromEntries(Object.entries(stageBounds).map(([name, { default: value }]) => [name, value])),
  ]);
  return Object.fromEntries(all) as Record<LimitedStage, StageLimits>;
}

const MIB = 1024 * 1024;

/** Return the unit in which a limit is entered: MiB for bytes. */
function unitOf(name: string): { words: string; factor: number } {
  if (name.endsWith("_bytes")) return { words: "MiB", factor: MIB };
  return { words: name.endsWith("_s") ? "s" : "", factor: 1 };
}

function nameOf(name: string): string {
  const words = name
    .replace(/_(bytes|s)$/, "")
    .replaceAll("_", " ")
    .replace("cpu", "CPU");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function withUnit(name: string, value: number): string {
  if (name.endsWith("_bytes")) return bytes(value);
  return name.endsWith("_s") ? `${value} s` : String(value);
}

export class LimitsForm {
  readonly element = h("div", { class: "limits" });
  #limits: Draft["limits"] = {};

  constructor(private readonly changed: () => void) {}

  set(limits: Draft["limits"]): void {
    this.#limits = limits;
    bounds().then(
      (all) => this.#draw(all),
      (error: Error) =>
        fill(this.element, h("p", { class: "error" }, `The limits are not known: ${error.message}`)),
    );
  }

  #draw(all: Record<LimitedStage, StageBounds>): void {
    const stages = (Object.keys(MODELS) as LimitedStage[]).map((stage) =>
      h(
        "fieldset",
        {},
        h("legend", {}, TITLES[stage]),
        h(
          "div",
          { class: "limit-grid" },
          ...Object.entries(all[stage]).map(([name, range]) => this.#field(stage, name, range)),
        ),
      ),
    );
    fill(this.element, h("p", { class: "hint" }, "Empty fields have their defaults."), ...stages);
  }

  #field(stage: LimitedStage, name: string, range: Bounds): HTMLElement {
    const unit = unitOf(name);
    const id = uniqueId("limit");
    const set = this.#limits[stage]?.[name];
    const hint = h("p", { id: `${id}-hint`, class: "hint" }, `at most ${withUnit(name, range.maximum)}`);
    const input = h("input", {
      id,
      type: "number",
      inputmode: "decimal",
      min: 0,
      step: "any",
      value: set === undefined ? null : set / unit.factor,
      placeholder: range.default / unit.factor,
      "aria-describedby": hint.id,
      "data-field": `limits.${stage}.${name}`,
      oninput: () => this.#put(stage, name, input.value === "" ? null : Number(input.value) * unit.factor),
    });
    const words = unit.words === "" ? nameOf(name) : `${nameOf(name)}, ${unit.words}`;
    return h("div", { class: "field" }, h("label", { for: id }, words), input, hint);
  }

  #put(stage: LimitedStage, name: string, value: number | null): void {
    const values = (this.#limits[stage] ??= {});
    if (value === null) delete values[name];
    else values[name] = name.endsWith("_bytes") ? Math.round(value) : value;
    this.changed();
  }
}
