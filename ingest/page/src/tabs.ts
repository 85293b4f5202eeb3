// Tabs of a narrow screen; a wide one shows all panels at once. The pattern is ARIA's:
// https://www.w3.org/WAI/ARIA/apg/patterns/tabs/

import { h } from "./dom";

const NARROW = matchMedia("(max-width: 940px)"); // as in style/narrow.css

interface Tab {
  name: string;
  button: HTMLButtonElement;
  panel: HTMLElement;
}

export class Tabs {
  readonly element: HTMLElement;
  readonly #tabs: Tab[];
  #chosen = 0;

  /** Make a tab for each panel, by its title, in this order. */
  constructor(label: string, panels: Record<string, HTMLElement>) {
    this.#tabs = Object.entries(panels).map(([name, panel], index) => {
      const id = name.toLowerCase();
      panel.id = `panel-${id}`;
      const button = h("button", {
        type: "button",
        role: "tab",
        class: "view-tab",
        id: `tab-${id}`,
        "aria-controls": panel.id,
        onclick: () => this.#choose(index),
      });
      button.textContent = name;
      return { name, button, panel };
    });
    this.element = h(
      "div",
      {
        class: "view-tabs",
        role: "tablist",
        "aria-label": label,
        onkeydown: (event: KeyboardEvent) => this.#key(event),
      },
      ...this.#tabs.map(({ button }) => button),
    );
    NARROW.addEventListener("change", () => this.#draw());
    this.#draw();
  }

  select(name: string): void {
    this.#choose(this.#tabs.findIndex((tab) => tab.name === name));
  }

  /** Select the tab whose panel contains `element`. */
  reveal(element: HTMLElement): void {
    const index = this.#tabs.findIndex(({ panel }) => panel.contains(element));
    if (index >= 0) this.#choose(index);
  }

  /** Give a tab the colour of `tone`. */
  mark(name: string, tone: string): void {
    const tab = this.#tabs.find((one) => one.name === name);
    if (tab !== undefined) tab.button.className = `view-tab ${tone}`;
  }

  #choose(index: number): void {
    const moved = index !== this.#chosen;
    this.#chosen = index;
    this.#draw();
    if (moved && NARROW.matches) scrollTo(0, 0);
  }

  #draw(): void {
    this.element.hidden = !NARROW.matches;
    for (const [index, { button, panel }] of this.#tabs.entries()) {
      const chosen = index === this.#chosen;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
      panel.hidden = NARROW.matches && !chosen;
      if (NARROW.matches) {
        panel.setAttribute("role", "tabpanel");
        panel.setAttribute("aria-labelledby", button.id);
      } else {
        panel.removeAttribute("role");
        panel.removeAttribute("aria-labelledby");
      }
    }
  }

  #key(event: KeyboardEvent): void {
    const target = nextTab(event.key, this.#chosen, this.#tabs.length);
    if (target === null) return;
    event.preventDefault();
    this.#choose(target);
    this.#tabs[target]?.button.focus();
  }
}

/** Return the index of the tab that a key selects from the tab `chosen` of `count`, or null. */
export function nextTab(key: string, chosen: number, count: number): number | null {
  const targets: Record<string, number> = {
    ArrowRight: (chosen + 1) % count,
    ArrowLeft: (chosen + count - 1) % count,
    Home: 0,
    End: count - 1,
  };
  return targets[key] ?? null;
}
