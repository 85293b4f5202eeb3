// Elements are made here and nowhere else. Text is only ever text: there is no way from a string to markup.

type Child = Node | string | number | null | undefined | false;

type Attributes = {
  [name: string]: string | number | boolean | null | undefined | ((event: never) => void);
};

/** An element. Functions become listeners (`onclick`), true an empty attribute, false and null none. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), value as (event: Event) => void);
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, ...children);
  return element;
}

function append(element: Element, ...children: Child[]): void {
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child instanceof Node ? child : String(child));
    }
  }
}

/** Put `children` in the place of what is in `element`. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren();
  append(element, ...children);
}

let made = 0;

/** An id that no other element has. */
export function uniqueId(prefix: string): string {
  made += 1;
  return `${prefix}-${made}`;
}

/** A labelled field: its name, what it is for, and the control. */
export function field(label: string, control: HTMLElement, hint?: string): HTMLElement {
  control.id ||= uniqueId("field");
  const parts: Child[] = [h("label", { for: control.id }, label), control];
  if (hint !== undefined) {
    const id = uniqueId("hint");
    control.setAttribute("aria-describedby", id);
    parts.push(h("p", { id, class: "hint" }, hint));
  }
  return h("div", { class: "field" }, ...parts);
}

const announcer = h("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });
document.body.append(announcer);

/** Have a screen reader say it. */
export function announce(text: string): void {
  if (announcer.textContent !== text) announcer.textContent = text;
}
