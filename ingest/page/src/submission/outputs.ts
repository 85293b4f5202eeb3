// Output files. Images are shown; other files can be saved, and the page never opens them.

import { getOutput } from "../api";
import { fill, h } from "../dom";
import type { OutputFile } from "../model";
import { bytes, harmless } from "../text";

/** Media types that the server detects by a file's first bytes, independent of its name. */
const IMAGES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const IMAGE_NAME = /\.(png|jpe?g|gif|webp)$/i;

/** Return the list of a test case's output files. */
export function outputFiles(id: string, testCase: number, files: OutputFile[]): HTMLElement {
  return h(
    "ul",
    { class: "outputs", "aria-label": "Output files" },
    ...files.map((file) => outputFile(id, testCase, file)),
  );
}

function outputFile(id: string, testCase: number, file: OutputFile): HTMLElement {
  const note = h("span", { class: "hint" }, bytes(file.size_bytes));
  const item = h(
    "li",
    {},
    h("div", { class: "row" }, h("bdi", { class: "file-name" }, harmless(file.name)), note),
  );
  if (file.omitted !== null) {
    note.textContent +=
      file.omitted === "answer_bytes" ? ", left out: the answer is full" : ", left out: too large";
    return item;
  }
  const wrong = h("p", { class: "error", role: "alert", hidden: true });
  const failed = (error: Error): void => {
    wrong.textContent = error.message;
    wrong.hidden = false;
  };
  const save = h("button", { type: "button", class: "small", "aria-label": `Save ${file.name}` }, "Save");
  save.addEventListener("click", () => {
    getOutput(id, testCase, file.name).then((blob) => saveAs(blob, file.name), failed);
  });
  item.firstElementChild?.append(save);
  item.append(wrong);
  if (IMAGE_NAME.test(file.name)) {
    const frame = h("div", { class: "image" });
    item.append(frame);
    getOutput(id, testCase, file.name).then((blob) => showImage(frame, blob, file.name), failed);
  }
  return item;
}

function showImage(frame: HTMLElement, blob: Blob, name: string): void {
  if (!IMAGES.has(blob.type)) {
    fill(frame, h("p", { class: "hint" }, "Not an image, despite its name."));
    return;
  }
  const address = URL.createObjectURL(blob);
  const done = (): void => URL.revokeObjectURL(address);
  const broken = (): void => {
    done();
    fill(frame, h("p", { class: "hint" }, "The image cannot be read."));
  };
  fill(frame, h("img", { src: address, alt: `Output file ${name}`, onload: done, onerror: broken }));
}

function saveAs(blob: Blob, name: string): void {
  const inert = new Blob([blob], { type: "application/octet-stream" });
  const address = URL.createObjectURL(inert);
  h("a", { href: address, download: harmless(name.slice(name.lastIndexOf("/") + 1)) }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
