// The older file convention: files that replace fields of a request. The server does not interpret them.

import type { SubmissionRequest } from "../model";

/** Return the request with absent fields filled from the files that replace them. */
export function ordinary(request: SubmissionRequest): SubmissionRequest {
  const text = (...names: string[]): string | undefined =>
    names
      .map((name) =>
        request.files?.find((file) => file.name === name && (file.encoding ?? "utf8") === "utf8"),
      )
      .find((file) => file !== undefined && file.content !== "")?.content;
  const compile = given(request.compile) ? request.compile : text("cutor-compile.sh");
  const run = given(request.run) ? request.run : text("cutor-run.sh");
  const nix = text("cutor.nix", "shell.nix");
  const dependencies = request.dependencies ?? (nix === undefined ? undefined : { nix });
  return {
    ...request,
    ...(run === undefined ? {} : { run }),
    ...(compile === undefined ? {} : { compile }),
    ...(dependencies === undefined ? {} : { dependencies }),
  };
}

function given(program: SubmissionRequest["run"]): boolean {
  return program !== undefined && program !== null && program !== "";
}
