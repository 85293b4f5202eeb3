// The examples of the repository, which `make demo` submits as well.

import type { SubmissionRequest } from "../model";

const sources = import.meta.glob<string>(
  "../../../../examples/{numpy,plot,cpp,node,java,go,output-files,project,memory-limit}/**/*",
  { query: "?raw", import: "default", eager: true },
);

const TITLES: Record<string, string> = {
  numpy: "Python with numpy",
  plot: "Python with matplotlib: a plot",
  cpp: "C++ with test cases",
  node: "JavaScript with arguments",
  java: "Java",
  go: "Go, by a Nix expression",
  project: "C with make, by the older convention",
  "output-files": "Files that come back",
  "memory-limit": "More memory than allowed",
};

const DESCRIPTION = "submission.json";

export interface Example {
  name: string;
  title: string;
  request: SubmissionRequest;
}

export const EXAMPLES: Example[] = Object.entries(TITLES).flatMap(([name, title]) => {
  const files = Object.entries(sources).flatMap(([path, content]) => {
    const found = path.split(`/examples/${name}/`)[1];
    return found === undefined ? [] : [{ name: found, content }];
  });
  const description = files.find((file) => file.name === DESCRIPTION);
  if (description === undefined) return [];
  const fields = JSON.parse(description.content) as SubmissionRequest;
  return [{ name, title, request: { ...fields, files: files.filter((file) => file !== description) } }];
});
