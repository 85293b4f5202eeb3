// Presets of languages, by `GET /languages`: a program to begin with, its packages and its commands.

import type { Language, SubmissionRequest } from "../model";
import { type Draft, draftOf, quoted } from "./draft";

/** Return the draft of a language's first program. */
export function draftOfLanguage(language: Language): Draft {
  const { name, packages, source_file: source, hello } = language;
  const stem = source.replace(/\.[^.]*$/, "");
  const command = (text: string): string =>
    text.replaceAll("{source}", quoted(source)).replaceAll("{stem}", quoted(stem));
  return draftOf({
    language: name,
    files: [{ name: source, content: hello }],
    dependencies: { packages: [...packages] },
    compile: language.compile === null ? null : command(language.compile),
    run: command(language.run),
  });
}

/**
 * Return the request with the name of its language, if the server's preset then adds nothing to it: an empty
 * command of the form means none, and must not become that of the preset.
 */
export function withLanguage(
  request: SubmissionRequest,
  name: string | null,
  languages: Language[],
): SubmissionRequest {
  const language = languages.find((one) => one.name === name);
  const compiles = (request.compile ?? "") !== "";
  if (language === undefined || request.files?.length === 0 || (language.compile !== null && !compiles))
    return request;
  return {
    ...request,
    language: language.name,
    dependencies: request.dependencies ?? { packages: [] },
  };
}
