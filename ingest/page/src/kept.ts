// Records in the browser's localStorage, which all tabs of the page share. They are lost at worst, never wrong:
// the browser may refuse to keep them, and the user may delete them.

const PREFIX = "envicutor.";

/** Return a record, or null if there is none that can be read. */
export function read<T>(name: string): T | null {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name) ?? "null") as T | null;
  } catch {
    return null;
  }
}

/** Keep a record and return whether the browser had room for it. */
export function write(name: string, record: unknown): boolean {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(record));
    return true;
  } catch {
    return false;
  }
}

export function remove(name: string): void {
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {
    // The browser keeps nothing for this page.
  }
}

/** Return the names and lengths (characters) of the records whose names begin with `beginning`. */
export function sizes(beginning: string): Map<string, number> {
  const found = new Map<string, number>();
  try {
    for (const [name, record] of Object.entries(localStorage) as [string, string][])
      if (name.startsWith(PREFIX + beginning)) found.set(name.slice(PREFIX.length), record.length);
  } catch {
    // The browser keeps nothing for this page.
  }
  return found;
}

/** Call `changed` when another tab has changed a record. */
export function onOtherTab(changed: () => void): void {
  addEventListener("storage", (event) => {
    if (event.key === null || event.key.startsWith(PREFIX)) changed();
  });
}
