// `content_credentials` of an answer -> a card of its own: what the file says about where it comes from.
import { html, icon } from "./dom.js";
import { sentence } from "./words.js";

const STATES = {
  absent: "None in this file",
  valid: "Signed, and unchanged since",
  invalid: "Broken: the file was changed after signing",
  untrusted: "Unchanged, but signed by somebody unknown",
};

export function credentialsCard({ content_credentials: found }) {
  if (!found) return null;
  const facts = [
    ["Made with", found.generator],
    ["Signed by", found.signer],
    ["Says that it was made by AI", found.made_by_ai === null ? null : found.made_by_ai ? "yes" : "no"],
  ].filter(([, value]) => value);
  return html("section", { class: "card credentials", "aria-labelledby": "credentials-title" },
    html("h3", { id: "credentials-title" }, icon("credentials"), "Content Credentials"),
    html("p", { class: "credentials-state" }, STATES[found.state] ?? sentence(found.state).slice(0, -1)),
    facts.length > 0 && html("dl", { class: "facts" }, facts.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value)))),
    html("p", { class: "small" }, sentence(found.note)));
}
