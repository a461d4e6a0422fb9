// `content_credentials` of an answer -> a card: what the file states about its origin.
import { html, icon } from "./dom.js";
import { factList } from "./facts.js";
import { isText, t } from "./messages.js";
import { sentence } from "./wording.js";

export function credentialsCard({ content_credentials: credentials }) {
  if (!credentials) return null;
  const { state, generator, signer, made_by_ai: madeByAi, note } = credentials;
  const facts = factList([
    [t("credentials.generator"), generator && html("span", { translate: "no" }, generator)],
    [t("credentials.signer"), signer && html("span", { translate: "no" }, signer)],
    [t("credentials.ai"), madeByAi === null ? null : t(madeByAi ? "answer.yes" : "answer.no")],
  ]);
  return html("section", { class: "card credentials", "aria-labelledby": "credentials-title" },
    html("h3", { id: "credentials-title" }, icon("credentials"), html("span", { lang: "en" }, "Content Credentials")),
    html("p", { class: "credentials-state" }, t(isText(`credentials.${state}`) ? `credentials.${state}` : "credentials.other")),
    facts,
    state === "absent" ? html("p", { class: "small" }, t("credentials.note.absent")) : html("p", { class: "small", lang: "en" }, sentence(note)));
}
