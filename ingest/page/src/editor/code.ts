// The code editor: CodeMirror in a shadow tree, so that it uses constructed style sheets. In the document it
// would insert a style element, which the Content-Security-Policy refuses.

import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import {
  bracketMatching,
  HighlightStyle,
  indentOnInput,
  indentUnit,
  syntaxHighlighting,
} from "@codemirror/language";
import {
  Compartment,
  EditorState,
  type Extension,
  RangeSet,
  StateEffect,
  StateField,
} from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  gutterLineClass,
  GutterMarker,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { h } from "../dom";
import { languageOf } from "./languages";

const PHONE = matchMedia("(max-width: 560px)");

const theme = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "transparent", fontSize: "var(--code-size)", height: "100%" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.6" },
  ".cm-content": { padding: "10px 0", caretColor: "var(--accent)" },
  ".cm-line": { padding: "0 14px 0 8px" },
  ".cm-cursor": { borderLeftColor: "var(--accent)", borderLeftWidth: "2px" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--muted)", border: "none" },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 6px 0 14px", minWidth: "32px" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "transparent" },
  "&.cm-focused .cm-activeLine, &.cm-focused .cm-activeLineGutter": { backgroundColor: "var(--line)" },
  ".cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {
    background: "var(--selection)",
  },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--selection)", outline: "none" },
  ".cm-gutterElement.marked": {
    backgroundColor: "var(--bad-ground)",
    color: "var(--bad)",
    fontWeight: "700",
    boxShadow: "inset 3px 0 var(--bad)",
  },
  ".cm-specialChar": { color: "var(--bad)" },
});

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.modifier, tags.operatorKeyword], color: "var(--code-keyword)" },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], color: "var(--code-string)" },
  { tag: [tags.number, tags.bool, tags.null, tags.atom], color: "var(--code-number)" },
  { tag: [tags.comment, tags.docComment], color: "var(--code-comment)", fontStyle: "italic" },
  {
    tag: [tags.function(tags.variableName), tags.function(tags.propertyName)],
    color: "var(--code-function)",
  },
  { tag: [tags.typeName, tags.className, tags.namespace], color: "var(--code-type)" },
  { tag: [tags.meta, tags.processingInstruction], color: "var(--code-type)" },
]);

class LineMark extends GutterMarker {
  override elementClass = "marked";
}

const LINE_MARK = new LineMark();
const markLines = StateEffect.define<number[]>();
/** The marked lines, which move with the text. */
const markedLines = StateField.define<RangeSet<GutterMarker>>({
  create: () => RangeSet.empty,
  update(marked, { changes, effects, newDoc }) {
    const lines = effects.find((effect) => effect.is(markLines))?.value as number[] | undefined;
    if (lines === undefined) return marked.map(changes);
    const starts = lines
      .filter((line) => line >= 1 && line <= newDoc.lines)
      .map((line) => newDoc.line(line).from);
    return RangeSet.of(
      starts.map((start) => LINE_MARK.range(start)),
      true,
    );
  },
  provide: (field) => gutterLineClass.from(field),
});

const always: Extension = [
  markedLines,
  lineNumbers(),
  highlightActiveLine(),
  highlightActiveLineGutter(),
  highlightSpecialChars(),
  history(),
  drawSelection(),
  indentOnInput(),
  indentUnit.of("    "),
  bracketMatching(),
  closeBrackets(),
  syntaxHighlighting(colours),
  theme,
  // The page handles Ctrl+Enter. Tab indents; Escape and then Tab moves the focus out of the editor.
  keymap.of([
    ...closeBracketsKeymap,
    ...defaultKeymap.filter((binding) => binding.key !== "Mod-Enter"),
    ...historyKeymap,
    indentWithTab,
  ]),
];

/** Editor that shows one text at a time. */
export class CodeEditor {
  readonly element = h("div", { class: "code" });
  readonly #view: EditorView;
  readonly #language = new Compartment();
  #shown = 0;

  constructor(private readonly changed: (text: string) => void) {
    const root = this.element.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(":host { display: block } div.holder { height: 100% }");
    root.adoptedStyleSheets = [sheet];
    const parent = h("div", { class: "holder" });
    root.append(parent);
    this.#view = new EditorView({ parent, root });
  }

  /** Show the text of a file; `name` selects the language and labels the editor for screen readers. */
  show(name: string, text: string, readOnly: boolean): void {
    this.#shown += 1;
    const shown = this.#shown;
    this.#view.setState(
      EditorState.create({
        doc: text,
        extensions: [
          always,
          this.#language.of([]),
          EditorState.readOnly.of(readOnly),
          PHONE.matches ? EditorView.lineWrapping : [],
          EditorView.contentAttributes.of({ "aria-label": `Content of ${name}`, tabindex: "0" }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) this.changed(update.state.doc.toString());
          }),
        ],
      }),
    );
    void languageOf(name).then((language) => {
      if (shown === this.#shown) this.#view.dispatch({ effects: this.#language.reconfigure(language) });
    });
  }

  /** Measure the editor again, after it was inserted into the document. */
  measure(): void {
    this.#view.requestMeasure();
  }

  focus(): void {
    this.#view.focus();
  }

  /** Move the cursor to a line and a column, both from 1, and show it. */
  goTo(line: number, column: number): void {
    const { doc } = this.#view.state;
    const { from, to } = doc.line(Math.min(Math.max(line, 1), doc.lines));
    const at = Math.min(from + Math.max(column - 1, 0), to);
    this.#view.dispatch({
      selection: { anchor: at },
      effects: EditorView.scrollIntoView(at, { y: "center" }),
    });
    this.#view.focus();
  }

  /** Mark lines (from 1) in the gutter, instead of those that are marked. */
  mark(lines: number[]): void {
    this.#view.dispatch({ effects: markLines.of([...new Set(lines)]) });
  }
}
