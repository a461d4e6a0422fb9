// `metadata` of an answer -> a card: camera, software, dates. The location is fetched only when the reader asks for it.
import { fileTime, number, t } from "./messages.js";
import { factList } from "./facts.js";
import { html } from "./dom.js";

const raw = (text) => text && html("span", { translate: "no" }, text);

/** `askLocation` analyses the file again, with its location, and resolves once `item.answer.metadata` has it. */
export function metadataCard(item, askLocation) {
  const { metadata } = item.answer;
  if (!metadata) return null;
  const { format, ...others } = metadata;
  const known = Object.values(others).some(Boolean);
  return html("section", { class: "card metadata", "aria-labelledby": "metadata-title" },
    html("h3", { id: "metadata-title" }, t("metadata.title")),
    !known && html("p", {}, t("metadata.none")),
    factList([
      [t("metadata.format"), raw(format)],
      ...["camera", "software"].map((name) => [t(`metadata.${name}`), raw(metadata[name])]),
      ...["taken_at", "modified_at"].map((name) => [t(`metadata.${name}`), metadata[name] && html("time", { datetime: metadata[name] }, fileTime(metadata[name]))]),
      ...["author", "generator_settings"].map((name) => [t(`metadata.${name}`), raw(metadata[name])]),
      [t("metadata.made_by_ai"), metadata.made_by_ai && t("answer.yes")],
      [t("metadata.location"), metadata.has_location && place(metadata, askLocation)],
    ]),
    known && html("p", { class: "small" }, t("metadata.note")));
}

function place({ location_deg: position }, askLocation) {
  if (position) return position.map((degrees) => number(degrees, 5)).join("; ");
  const button = html("button", { type: "button", class: "link screen-only", onclick: () => { button.disabled = true; askLocation(); } }, t("metadata.location.show"));
  return [t("metadata.location.hidden"), " ", button];
}
