// `content_credentials` of an answer -> a card: what the file states about its origin.
import { html, icon } from "./dom.js";
import { sentence } from "./wording.js";

const STATES = {
  absent: "None in this file",
  valid: "Signed, and unchanged since then",
  invalid: "Invalid: the file was changed after it was signed",
  untrusted: "Unchanged since it was signed, but the signer is unknown",
};

export function credentialsCard({ content_credentials: credentials }) {
  if (!credentials) return null;
  const { state, generator, signer, made_by_ai: madeByAi, note } = credentials;
  const facts = [
    ["Made with", generator],
    ["Signed by", signer],
    ["States that AI made it", madeByAi === null ? null : madeByAi ? "yes" : "no"],
  ].filter(([, value]) => value);
  return html("section", { class: "card credentials", "aria-labelledby": "credentials-title" },
    html("h3", { id: "credentials-title" }, icon("credentials"), "Content Credentials"),
    html("p", { class: "credentials-state" }, STATES[state] ?? sentence(state).slice(0, -1)),
    facts.length > 0 && html("dl", { class: "facts" }, facts.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value)))),
    html("p", { class: "small" }, sentence(note)));
}
