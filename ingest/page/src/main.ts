// The router, by the fragment of the URL: `#/`, `#/s/ID`, `#/s/ID/history`, `#/system`.

import "./style/base.css";
import "./style/head.css";
import "./style/controls.css";
import "./style/editor.css";
import "./style/result.css";
import "./style/history.css";
import "./style/system.css";
import "./style/narrow.css";
import { historyView } from "./submission/history";
import { RunView } from "./run";
import { systemView } from "./system/view";

const main = document.querySelector<HTMLElement>("#main");
if (main === null) throw new Error("the page has no main element");

const run = new RunView();
let leave: () => void = () => undefined;

function show(place: HTMLElement): void {
  leave();
  leave = () => undefined;
  const [, kind = "", id = "", below] = location.hash.split("/"); // ids need no escapes
  document.body.dataset["view"] = kind === "system" ? "system" : below === "history" ? "history" : "run";
  for (const link of document.querySelectorAll<HTMLElement>("nav [data-view]")) {
    if (link.dataset["view"] === document.body.dataset["view"]) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (kind === "system") leave = systemView(place);
  else if (kind === "s" && below === "history") leave = historyView(place, id);
  else run.open(place, kind === "s" ? id : null);
  document.title = kind === "system" ? "System – Envicutor" : id === "" ? "Envicutor" : `${id} – Envicutor`;
}

addEventListener("hashchange", () => {
  if (location.hash === "#main") return;
  show(main);
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault(); // the fragment selects the view, so the link must not change it
  main.focus();
});
addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || document.body.dataset["view"] !== "run")
    return;
  event.preventDefault();
  void run.submit();
});
show(main);
