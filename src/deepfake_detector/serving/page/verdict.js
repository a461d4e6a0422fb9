// An answer -> its headline, the strength of the evidence, the score on its scale, and the reasons.
import { advice, decisionOf, EVIDENCE_LEVELS, evidenceLabel, headline, kindName, leadingKind, percent, sentence } from "./wording.js";
import { hiddenText, html, icon } from "./dom.js";
import { scoreScale } from "./scale.js";

export function verdictHeader(item) {
  const { answer, file } = item;
  const status = answer.p_fake === null ? "unscored" : answer.verdict;
  return html("header", { class: `verdict ${status}` },
    html("p", { class: "verdict-file" }, hiddenText("Answer for "), file.name),
    html("div", { class: "verdict-line" }, icon(status), html("h2", { id: "verdict", tabindex: -1 }, headline(answer))),
    html("p", { class: "verdict-advice" }, advice(answer)),
    answer.p_fake !== null && html("div", { class: "verdict-evidence" }, evidenceStrength(answer), html("div", {},
      html("p", { class: "label" }, "Score"), scoreScale(answer.p_fake, answer.model.thresholds))));
}

/** The level of evidence as a word and as filled steps, one per level. */
function evidenceStrength(answer) {
  const level = EVIDENCE_LEVELS.indexOf(answer.evidence);
  return html("div", { class: "strength" },
    html("p", { class: "label" }, evidenceLabel(answer)),
    html("p", { class: "strength-word" }, sentence(answer.evidence).slice(0, -1), answer.verdict === "inconclusive" && html("span", {}, ", not enough to decide")),
    html("div", { class: "strength-steps", "aria-hidden": "true" },
      EVIDENCE_LEVELS.map((_, step) => html("span", { class: step <= level ? "on" : "" }))));
}

export function reasonsCard(answer) {
  return html("section", { class: "card", "aria-labelledby": "reasons-title" },
    html("h3", { id: "reasons-title" }, "Reasons"),
    html("ul", { class: "reasons" }, answer.reasons.map((reason) => html("li", {}, sentence(reason)))),
    fakeKinds(answer));
}

/** The kinds of fake and their shares; only for fakes, because the shares say nothing about real faces. */
function fakeKinds(answer) {
  const shares = answer.kind_of_fake;
  if (!shares || decisionOf(answer.p_fake, answer.model.thresholds) !== "fake") return null;
  const leading = leadingKind(shares);
  return html("div", { class: "kinds" },
    html("h4", {}, leading ? `Kind of fake: ${kindName(leading).toLowerCase()}` : "Kind of fake: unclear"),
    html("dl", {}, Object.entries(shares).map(([kind, share]) => html("div", {},
      html("dt", {}, kindName(kind)), html("dd", {}, html("meter", { value: share, "aria-hidden": "true" }), ` ${percent(share)}`)))));
}
