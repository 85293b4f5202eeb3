// Output of programs, made safe to display: it remains text and cannot imitate other text.

import type { Encoding } from "./model";

// CSI … final byte; OSC, DCS, SOS, PM, APC up to their terminator; other escapes of two or three characters.
const ESCAPES =
  /\u001b\[[0-?]*[ -/]*[@-~]|\u001b[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[ -/]*[0-Z\\^-~]/g;
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;
/** Characters that change the direction, and with it the apparent order, of text. */
const DIRECTIONS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Return text without terminal escapes, and with control characters made visible. */
export function harmless(text: string): string {
  return text
    .replace(ESCAPES, "")
    .replace(/\r\n/g, "\n")
    .replace(CONTROLS, picture)
    .replace(
      DIRECTIONS,
      (character) => `[U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}]`,
    );
}

function picture(character: string): string {
  const code = character.charCodeAt(0);
  if (code === 0x0d) return "\n"; // progress bars redraw their line with carriage returns
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? "\u2421" : "\ufffd";
}

/** Decode base64 to bytes. */
export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** Decode text of the HTTP API: plain text, or base64 or hex of bytes that may not be UTF-8. */
export function decoded(text: string, encoding: Encoding): string {
  if (encoding === "utf8") return text;
  const hex = (): number[] => (text.match(/../g) ?? []).map((digits) => parseInt(digits, 16));
  return new TextDecoder().decode(encoding === "base64" ? bytesOf(text) : Uint8Array.from(hex()));
}

const UNITS = ["B", "KiB", "MiB", "GiB"];

/** Format a number of bytes: 134217728 as "128 MiB". */
export function bytes(count: number): string {
  let unit = 0;
  while (count >= 1024 && unit < UNITS.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${count >= 100 || Number.isInteger(count) ? Math.round(count) : count.toPrecision(2)} ${UNITS[unit]}`;
}

/** Format a duration: 0.0532 as "53 ms", 12.3 as "12.3 s". */
export function seconds(count: number): string {
  if (count < 0.9995) return `${Math.round(count * 1000)} ms`;
  if (count < 120) return `${Number(count.toFixed(count < 10 ? 2 : 1))} s`;
  return `${Math.floor(count / 60)} min ${Math.round(count % 60)} s`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

const AGES: [unit: Intl.RelativeTimeFormatUnit, seconds: number][] = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];

/** Format how long ago a time (ms since 1970) was: "3 min. ago", "just now". */
export function ago(ms: number): string {
  const age = (Date.now() - ms) / 1000;
  const [unit, length] = AGES.find(([, seconds]) => age >= seconds) ?? [];
  if (unit === undefined || length === undefined) return "just now";
  return new Intl.RelativeTimeFormat("en", { style: "short" }).format(-Math.floor(age / length), unit);
}
