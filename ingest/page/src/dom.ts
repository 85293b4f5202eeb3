// The only module that creates elements. It inserts strings as text nodes, never as markup.

type Child = Node | string | number | null | undefined | false;

type Attributes = {
  [name: string]: string | number | boolean | null | undefined | ((event: never) => void);
};

/** Make an element. Functions become listeners (`onclick`), true an empty attribute, false and null none. */
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

/** Replace the content of `element` with `children`. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren();
  append(element, ...children);
}

let made = 0;

/** Return an id that no other element has. */
export function uniqueId(prefix: string): string {
  made += 1;
  return `${prefix}-${made}`;
}

/** Create a labelled field: the label, the control and an optional hint. */
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

/** Make screen readers announce a text. */
export function announce(text: string): void {
  if (announcer.textContent !== text) announcer.textContent = text;
}
