// The language of a file by its name. A language is loaded when the first file needs it.

import { StreamLanguage } from "@codemirror/language";
import type { Extension } from "@codemirror/state";

type Loader = () => Promise<Extension>;

const javascript =
  (typescript: boolean): Loader =>
  async () =>
    (await import("@codemirror/lang-javascript")).javascript({ typescript });
const cpp: Loader = async () => (await import("@codemirror/lang-cpp")).cpp();
const shell: Loader = async () =>
  StreamLanguage.define((await import("@codemirror/legacy-modes/mode/shell")).shell);

const BY_ENDING: Record<string, Loader> = {
  py: async () => (await import("@codemirror/lang-python")).python(),
  js: javascript(false),
  mjs: javascript(false),
  ts: javascript(true),
  c: cpp,
  h: cpp,
  cc: cpp,
  cpp,
  hpp: cpp,
  java: async () => (await import("@codemirror/lang-java")).java(),
  go: async () => (await import("@codemirror/lang-go")).go(),
  rs: async () => (await import("@codemirror/lang-rust")).rust(),
  rb: async () => StreamLanguage.define((await import("@codemirror/legacy-modes/mode/ruby")).ruby),
  pl: async () => StreamLanguage.define((await import("@codemirror/legacy-modes/mode/perl")).perl),
  hs: async () => StreamLanguage.define((await import("@codemirror/legacy-modes/mode/haskell")).haskell),
  lua: async () => StreamLanguage.define((await import("@codemirror/legacy-modes/mode/lua")).lua),
  r: async () => StreamLanguage.define((await import("@codemirror/legacy-modes/mode/r")).r),
  sql: async () => StreamLanguage.define((await import("@codemirror/legacy-modes/mode/sql")).standardSQL),
  sh: shell,
};

/** Return the highlighting for a file name, or no extension if the language is unknown. */
export async function languageOf(name: string): Promise<Extension> {
  const ending = name.slice(name.lastIndexOf(".") + 1).toLowerCase();
  return (await BY_ENDING[ending]?.()) ?? [];
}
