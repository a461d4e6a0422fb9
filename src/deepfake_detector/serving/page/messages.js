// Language of the reader: ?lang=, else the browser's -> texts of the page, numbers and dates in that language.
//
// messages/LANGUAGE.json: key -> text with {placeholders}, or one text per plural category of `n`.
export const LANGUAGES = { en: "English", es: "Español", fr: "Français", de: "Deutsch" };
const FILES = { en: "messages/en.json", es: "messages/es.json", fr: "messages/fr.json", de: "messages/de.json" };
const ATTRIBUTES = { text: "textContent", label: "ariaLabel" };
let language = "en";
let texts = {};

export const currentLanguage = () => language;

/** The language of the address, else the first of the browser's that the page speaks, else English. */
export function preferredLanguage() {
  const wanted = [new URLSearchParams(location.search).get("lang"), ...(navigator.languages ?? [])];
  return wanted.map((code) => code?.slice(0, 2).toLowerCase()).find((code) => code in FILES) ?? "en";
}

/** Load a language and translate the elements of the document that name a text by data-text or data-label. */
export async function setLanguage(code) {
  const response = await fetch(new URL(FILES[code], import.meta.url));
  texts = await response.json();
  language = code;
  document.documentElement.lang = code;
  document.title = t(document.documentElement.dataset.title);
  for (const [name, property] of Object.entries(ATTRIBUTES)) {
    for (const element of document.querySelectorAll(`[data-${name}]`)) element[property] = t(element.dataset[name]);
  }
}

/** The text of a key with its placeholders filled; `n` chooses the plural. A key without a text is shown as it is. */
export function t(key, values = {}) {
  const found = texts[key] ?? key;
  const text = typeof found === "string" ? found : found[new Intl.PluralRules(language).select(values.n)] ?? found.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name]));
}

/** Whether a key has a text. */
export const isText = (key) => key in texts;

/** A number with `digits` decimals. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

export const list = (items) => new Intl.ListFormat(language, { type: "unit" }).format(items);

/** An ISO 8601 time as written into a file: in its own clock, with its offset if it has one. */
export function fileTime(iso) {
  const [, date, clock, offset] = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(.*)$/.exec(iso) ?? [];
  if (!date) return iso;
  const day = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeZone: "UTC" }).format(new Date(`${date}T00:00:00Z`));
  return `${day}, ${clock}${offset && ` (UTC${offset === "+00:00" ? "" : offset})`}`;
}
