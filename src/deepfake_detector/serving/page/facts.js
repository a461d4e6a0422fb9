// Pairs of a name and a value (text or element) -> a description list without those that have no value; null if none has.
import { html } from "./dom.js";

export function factList(pairs, className = "facts") {
  const facts = pairs.filter(([, value]) => value);
  if (!facts.length) return null;
  return html("dl", { class: className }, facts.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));
}
