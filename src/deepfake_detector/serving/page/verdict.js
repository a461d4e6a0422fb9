// An answer -> its verdict in plain words, the strength of the evidence, the score on its scale, and the reasons.
import { advice, decide, evidenceOf, evidenceSteps, headline, kindName, leadingKind, percent, sentence } from "./words.js";
import { html, icon, spoken } from "./dom.js";
import { scale } from "./scale.js";

export function verdictOf(item) {
  const { answer, file } = item;
  const mark = answer.p_fake === null ? "unjudged" : answer.verdict;
  return html("header", { class: `verdict ${mark}` },
    html("p", { class: "verdict-file" }, spoken("Answer for "), file.name),
    html("div", { class: "verdict-line" }, icon(mark), html("h2", { id: "verdict", tabindex: -1 }, headline(answer))),
    html("p", { class: "verdict-advice" }, advice(answer)),
    answer.p_fake !== null && html("div", { class: "verdict-weight" }, strength(answer), html("div", {},
      html("p", { class: "label" }, "Score"), scale(answer.p_fake, answer.model.thresholds))));
}

/** Four steps, as many filled as the word is strong. */
function strength(answer) {
  const reached = evidenceSteps.indexOf(answer.evidence);
  return html("div", { class: "strength" },
    html("p", { class: "label" }, evidenceOf(answer)),
    html("p", { class: "strength-word" }, sentence(answer.evidence).slice(0, -1), answer.verdict === "inconclusive" && html("span", {}, ", not enough to decide")),
    html("div", { class: "strength-steps", "aria-hidden": "true" },
      evidenceSteps.map((_, step) => html("span", { class: step <= reached ? "on" : "" }))));
}

export function reasonsOf(answer) {
  return html("section", { class: "card", "aria-labelledby": "why" },
    html("h3", { id: "why" }, "Why"),
    html("ul", { class: "reasons" }, answer.reasons.map((reason) => html("li", {}, sentence(reason)))),
    kindsOf(answer));
}

/** Were it a fake, which kind: only where the answer is one, since the shares say nothing about real faces. */
function kindsOf(answer) {
  const shares = answer.kind_of_fake;
  if (!shares || decide(answer.p_fake, answer.model.thresholds) !== "fake") return null;
  const named = leadingKind(shares);
  return html("div", { class: "kinds" },
    html("h4", {}, named ? `Kind of fake: ${kindName(named).toLowerCase()}` : "Kind of fake: unclear"),
    html("dl", {}, Object.entries(shares).map(([kind, share]) => html("div", {},
      html("dt", {}, kindName(kind)), html("dd", {}, html("meter", { value: share, "aria-hidden": "true" }), ` ${percent(share)}`)))));
}
