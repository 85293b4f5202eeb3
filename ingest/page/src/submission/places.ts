// Places in the submitted files, as compilers and interpreters print them.

import { h } from "../dom";
import { harmless } from "../text";

export interface Place {
  file: string;
  line: number; // from 1
  column: number; // from 1
}

const LINKS = 300; // of one text
/** `main.cpp:2:26`, `main.ts(2,26)`, `File "/box/main.py", line 2`, `main.sh: line 2`, `main.php on line 2` */
const POSITION = String.raw`(?::|\(|(?:"?,|:)?(?: on)? line )(\d+)(?:[:,](\d+))?`;

export class Places {
  readonly #pattern: RegExp | null;

  /** Find places in the files `names`; `go` is called with the place of a link that is used. */
  constructor(
    names: string[],
    private readonly go: (place: Place) => void,
  ) {
    const files = [...names]
      .sort((one, other) => other.length - one.length)
      .map((name) => name.replace(/[.*+?^${}()|[\]\\/-]/g, String.raw`\$&`));
    this.#pattern =
      files.length === 0
        ? null
        : new RegExp(
            String.raw`(?<![\w./-])(?:file:\/\/)?(?:\/box\/|\.\/)?(${files.join("|")})${POSITION}`,
            "g",
          );
  }

  /** Return the places that a text names. */
  of(text: string): Place[] {
    return this.#found(text).map(([, place]) => place);
  }

  /** Return a text, made harmless, whose places are links. */
  linked(text: string): (string | HTMLElement)[] {
    const parts: (string | HTMLElement)[] = [];
    const safe = harmless(text);
    let end = 0;
    for (const [match, place] of this.#found(safe)) {
      const title = `Go to line ${place.line} of ${place.file}`;
      const onclick = (): void => this.go(place);
      parts.push(
        safe.slice(end, match.index),
        h("button", { type: "button", class: "place", title, onclick }, match[0]),
      );
      end = match.index + match[0].length;
    }
    return [...parts, safe.slice(end)];
  }

  #found(text: string): [RegExpExecArray, Place][] {
    if (this.#pattern === null) return [];
    const found: [RegExpExecArray, Place][] = [];
    for (const match of text.matchAll(this.#pattern)) {
      const [, file = "", line = "1", column = "1"] = match;
      found.push([match, { file, line: Number(line), column: Number(column) }]);
      if (found.length === LINKS) break;
    }
    return found;
  }
}
