// An answer -> its headline, the strength of the evidence, the score on its scale, and the reasons.
import { advice, decisiveFaces, EVIDENCE_LEVELS, headline, kindName, leadingKind, percent, score, sentence, statusOf, thresholdsOf } from "./wording.js";
import { currentLanguage, t } from "./messages.js";
import { hiddenText, html, icon } from "./dom.js";
import { coverageSentence } from "./coverage.js";
import { scoreScale } from "./scale.js";

export function verdictHeader(item, about) {
  const { answer, file } = item;
  const status = statusOf(answer);
  return html("header", { class: `verdict ${status}` },
    html("p", { class: "verdict-file" }, hiddenText(t("verdict.answer_for")), html("span", { translate: "no" }, file.name)),
    html("div", { class: "verdict-line" }, icon(status), html("h2", { id: "verdict", tabindex: -1 }, headline(answer))),
    html("p", { class: "verdict-advice" }, advice(answer)),
    coverageLine(answer, about),
    answer.p_fake !== null && html("div", { class: "verdict-evidence" }, answer.verdict !== "real" && evidenceStrength(answer), html("div", {},
      html("p", { class: "label" }, t(answer.kind === "video" ? "score.clip" : "score.label")), scoreScale(answer.p_fake, thresholdsOf(answer)),
      answer.kind === "video" && html("p", { class: "small score-note" }, clipScoreNote(answer)))));
}

/** How often such files are decided, or null. */
export function coverageLine(answer, about) {
  const text = coverageSentence(answer, about);
  return text && html("p", { class: "verdict-advice verdict-coverage" }, text);
}

/** Why the score of a clip differs from those of its frames. */
function clipScoreNote(answer) {
  const deciding = answer.tracks.indexOf(decisiveFaces(answer).find((track) => track.p_fake === answer.p_fake));
  const scores = answer.faces.filter((face) => face.track === deciding && face.p_fake !== null).map((face) => face.p_fake);
  return t("score.clip.note", { n: scores.length, low: score(Math.min(...scores)), high: score(Math.max(...scores)) });
}

/** The level of evidence as a word and as filled steps, one per level. */
function evidenceStrength(answer) {
  const level = EVIDENCE_LEVELS.indexOf(answer.evidence);
  return html("div", { class: "strength" },
    html("p", { class: "label" }, t("evidence.label")),
    html("p", { class: "strength-word" }, t(`evidence.${answer.evidence}`), answer.verdict === "inconclusive" && html("span", {}, t("evidence.undecided"))),
    html("div", { class: "strength-steps", "aria-hidden": "true" },
      EVIDENCE_LEVELS.map((_, step) => html("span", { class: step <= level ? "on" : "" }))));
}

/** The service gives its reasons in English; in other languages the score's reason stands before them. */
export function reasonsCard(answer) {
  const english = html("ul", { class: "reasons", lang: "en" }, answer.reasons.map((reason) => html("li", {}, sentence(reason))));
  const isEnglish = currentLanguage() === "en";
  const { clear, flag } = thresholdsOf(answer);
  const values = { score: score(answer.p_fake), clear: score(clear), flag: score(flag) };
  return html("section", { class: "card", "aria-labelledby": "reasons-title" },
    html("h3", { id: "reasons-title" }, t("reasons.title")),
    !isEnglish && answer.p_fake !== null && html("p", { class: "reasons-summary" }, t(`reasons.${answer.verdict}`, values)),
    !isEnglish && html("p", { class: "small" }, t("reasons.english")),
    english,
    fakeKinds(answer));
}

/** The kinds of fake and their shares; only for fakes, because the shares say nothing about real faces. */
function fakeKinds(answer) {
  const shares = answer.kind_of_fake;
  if (!shares || answer.verdict !== "fake") return null;
  const leading = leadingKind(shares);
  return html("div", { class: "kinds" },
    html("h4", {}, leading ? t("kinds.title", { kind: kindName(leading) }) : t("kinds.unclear")),
    html("dl", {}, Object.entries(shares).map(([kind, share]) => html("div", {},
      html("dt", {}, sentence(kindName(kind)).slice(0, -1)), html("dd", {}, html("meter", { value: share, "aria-hidden": "true" }), ` ${percent(share)}`)))));
}
