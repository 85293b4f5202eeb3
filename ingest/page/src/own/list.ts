// "Your runs": the runs and the other drafts that this browser keeps.

import { fill, h } from "../dom";
import { onOtherTab } from "../kept";
import { labelOf } from "../model";
import { ago } from "../text";
import type { Drafts, KeptDraft } from "./drafts";
import { forgetRuns, type OwnRun, ownRuns, refreshRuns } from "./runs";

const EVERY_MS = 30_000;

export class OwnList {
  readonly element = h("section", { class: "card own", "aria-labelledby": "own-title" });
  #shown: string | null = null;

  /** `titleOf` names a draft for people; `open` continues with the draft of an id. */
  constructor(
    private readonly drafts: Drafts,
    private readonly titleOf: (draft: KeptDraft["draft"]) => string,
    private readonly open: (id: string) => void,
  ) {
    onOtherTab(() => this.draw());
    setInterval(() => this.draw(), EVERY_MS);
    void refreshRuns().then(() => this.draw());
    this.draw();
  }

  /** Mark the run whose result is shown. */
  show(id: string | null): void {
    this.#shown = id;
    this.draw();
  }

  draw(): void {
    if (this.element.contains(document.activeElement)) return; // it would lose the focus
    const runs = ownRuns();
    const drafts = this.drafts.others().filter((one) => one.changed);
    this.element.hidden = runs.length === 0 && drafts.length === 0;
    fill(
      this.element,
      h(
        "div",
        { class: "result-head" },
        h("h2", { id: "own-title" }, "Your runs"),
        h("button", { type: "button", class: "quiet small", onclick: () => this.#forget() }, "Forget all"),
      ),
      runs.length > 0 && h("ul", { class: "own-runs" }, ...runs.map((run) => this.#run(run))),
      drafts.length > 0 && h("h3", {}, "Drafts"),
      drafts.length > 0 && h("ul", { class: "own-runs" }, ...drafts.map((draft) => this.#draft(draft))),
      h("p", { class: "hint" }, "Kept in this browser only."),
    );
  }

  #run(run: OwnRun): HTMLElement {
    const { words, tone } = labelOf(run.status, run.outcome);
    const current = run.id === this.#shown ? "true" : null;
    return h(
      "li",
      {},
      h("a", { href: `#/s/${run.id}`, "aria-current": current }, h("bdi", {}, run.title)),
      h("span", { class: `pill ${tone}` }, words),
      age(run.at),
    );
  }

  #draft({ id, draft, saved_at }: KeptDraft): HTMLElement {
    const open = (): void => {
      (document.activeElement as HTMLElement | null)?.blur();
      this.open(id);
    };
    const title = this.titleOf(draft);
    return h(
      "li",
      {},
      h("bdi", {}, title),
      h(
        "button",
        { type: "button", class: "small", "aria-label": `Open the draft ${title}`, onclick: open },
        "Open",
      ),
      age(saved_at),
    );
  }

  #forget(): void {
    forgetRuns();
    this.drafts.forgetOthers();
    (document.activeElement as HTMLElement | null)?.blur();
    this.draw();
  }
}

function age(ms: number): HTMLElement {
  const time = new Date(ms);
  return h("time", { datetime: time.toISOString(), title: time.toLocaleString() }, ago(ms));
}
