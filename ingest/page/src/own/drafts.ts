// Drafts, kept in the browser: a closed tab loses nothing. Tabs share the drafts. A tab whose draft was changed
// by another tab goes on with a copy, so neither overwrites the other.

import { newId } from "../api";
import type { Draft } from "../editor/draft";
import { read, remove, sizes, write } from "../kept";

const PREFIX = "draft.3."; // raise the number when the format of drafts changes
const OF_THIS_TAB = "envicutor.draft";
const DRAFTS = 20;
const CHARACTERS = 2_000_000; // of all drafts together; browsers keep 5 million for a site
const PAUSE_MS = 200;

export interface KeptDraft {
  id: string;
  /** Random text that each save changes; it shows whether another tab saved in between. */
  stamp: string;
  saved_at: number; // ms since 1970
  /** Whether it differs from the example, language or submission that it was made of, or ran as. */
  changed: boolean;
  /** Submission whose result belongs to the draft. */
  submission: string | null;
  draft: Draft;
}

/** A draft at the moment when it was sent to the server. */
export type SentDraft = Pick<KeptDraft, "id" | "stamp">;

function made(draft: Draft, submission: string | null): KeptDraft {
  return { id: newId(), stamp: "", saved_at: Date.now(), changed: false, submission, draft };
}

export class Drafts {
  #current: KeptDraft;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Continue with the draft of this tab, else with the latest draft, else with `first`. */
  constructor(
    first: () => Draft,
    private readonly notice: (words: string) => void,
  ) {
    const own = read<KeptDraft>(PREFIX + (sessionStorage.getItem(OF_THIS_TAB) ?? ""));
    this.#current = own ?? kept()[0] ?? made(first(), null);
    addEventListener("pagehide", () => this.flush());
    addEventListener("visibilitychange", () => this.flush());
  }

  get draft(): Draft {
    return this.#current.draft;
  }

  /** Id of the submission whose result belongs to the draft, or null. */
  get submission(): string | null {
    return this.#current.submission;
  }

  /** Keep the draft after the user changed it. */
  edited(): void {
    this.#current.changed = true;
    this.#timer ??= setTimeout(() => this.flush(), PAUSE_MS);
  }

  /** Keep the draft as it is sent to the server; `submitted` takes what this returns. */
  sent(): SentDraft {
    this.flush();
    const { id, stamp } = this.#current;
    return { id, stamp };
  }

  /**
   * Note that the server has the draft as it was sent, as the submission `id`. It stays changed if the user has
   * edited it since. Return whether it is still the draft of this tab.
   */
  submitted(sent: SentDraft, id: string): boolean {
    this.flush();
    if (this.#current.id !== sent.id) return false;
    this.#current.submission = id;
    if (this.#current.stamp === sent.stamp) this.#current.changed = false;
    this.#save();
    return true;
  }

  /** Start another draft. Return the id of the draft before it if it was changed, and is kept. */
  start(draft: Draft, submission: string | null = null): string | null {
    this.flush();
    const before = this.#current;
    this.#current = made(draft, submission);
    if (!before.changed) remove(PREFIX + before.id);
    this.#save();
    return before.changed ? before.id : null;
  }

  /** Continue with a kept draft. Return whether it is still there. */
  open(id: string): boolean {
    this.flush();
    const found = read<KeptDraft>(PREFIX + id);
    if (found === null) return false;
    if (!this.#current.changed) remove(PREFIX + this.#current.id);
    this.#current = found;
    this.#save();
    return true;
  }

  /** Return the other drafts, latest first. */
  others(): KeptDraft[] {
    return kept().filter(({ id }) => id !== this.#current.id);
  }

  /** Delete the other drafts. */
  forgetOthers(): void {
    for (const { id } of this.others()) remove(PREFIX + id);
  }

  flush(): void {
    if (this.#timer !== undefined) this.#save();
  }

  #save(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const stored = read<KeptDraft>(PREFIX + this.#current.id);
    if (stored !== null && stored.stamp !== this.#current.stamp) {
      this.#current.id = newId();
      this.notice("Another tab changed this draft. This tab goes on with a copy; both are kept.");
    }
    const { id } = this.#current;
    this.#current.stamp = newId();
    this.#current.saved_at = Date.now();
    sessionStorage.setItem(OF_THIS_TAB, id);
    makeRoom(id, JSON.stringify(this.#current).length);
    if (!write(PREFIX + id, this.#current)) {
      this.notice("This draft is too large for this browser to keep. It is lost when the tab is closed.");
    }
  }
}

function kept(): KeptDraft[] {
  return [...sizes(PREFIX).keys()]
    .flatMap((name) => read<KeptDraft>(name) ?? [])
    .sort((one, other) => other.saved_at - one.saved_at);
}

/** Delete the oldest other drafts until there is room for the draft `id`. */
function makeRoom(id: string, characters: number): void {
  const others = sizes(PREFIX);
  others.delete(PREFIX + id);
  let total = [...others.values()].reduce((sum, length) => sum + length, characters);
  if (others.size < DRAFTS && total <= CHARACTERS) return;
  const oldest = kept().filter((draft) => draft.id !== id);
  while (oldest.length > 0 && (oldest.length >= DRAFTS || total > CHARACTERS)) {
    const name = PREFIX + (oldest.pop()?.id ?? "");
    total -= others.get(name) ?? 0;
    remove(name);
  }
}
