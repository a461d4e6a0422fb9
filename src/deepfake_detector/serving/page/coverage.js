// `coverage` of GET /about -> how often files like this one are decided, and how often rightly; nothing if not measured.
import { html } from "./dom.js";
import { isText, list, number, t } from "./messages.js";
import { kindName, percent } from "./wording.js";

/** A sentence for an answer, or null. */
export function coverageSentence(answer, about) {
  const measured = about?.coverage?.[answer.kind]?.all;
  if (!measured?.files || answer.p_fake === null) return null;
  const values = { decided: percent(measured.decided), right: measured.right === null ? "" : percent(measured.right) };
  if (answer.verdict === "inconclusive") return t(`coverage.${answer.kind}.abstained`, values);
  return measured.right === null ? null : t(`coverage.${answer.kind}.decided`, values);
}

/** What the model is good at, per medium and source; its accuracy where that was not measured for pictures. */
export function strengths(about) {
  const media = [["image", "strengths.pictures"], ["video", "strengths.videos"]].filter(([medium]) => about.coverage?.[medium]?.all.files);
  const measured = media.map(([medium, title]) => figures(t(title), about.coverage[medium], about.name === "pretrained"));
  return [
    !about.coverage?.image?.all.files && html("p", { class: "strengths-accuracy" }, accuracy(about)),
    measured.length > 0 && html("dl", { class: "strengths-figures" }, measured),
    html("p", { class: "small" }, t("strengths.kinds", { kinds: list(about.kinds.map(kindName)) }), " ", t("strengths.note")),
  ].filter(Boolean);
}

function figures(title, { all, sources }, shipped) {
  const parts = Object.entries(sources ?? {}).filter(([, source]) => source.files);
  return [
    html("div", { class: "strengths-all" }, html("dt", {}, title), html("dd", {}, shares(all))),
    parts.length > 1 && parts.map(([name, source]) => html("div", {}, html("dt", {}, sourceName(name, shipped)), html("dd", {}, shares(source)))),
  ];
}

/** Sources of the shipped model have words; others are named by the operator, and "NAME KIND" has a kind of fake in words. */
function sourceName(name, shipped) {
  if (shipped && isText(`source.${name}`)) return t(`source.${name}`);
  const kind = name.split(/[ :/]/).at(-1);
  return isText(`kind.${kind}`) ? `${name.slice(0, -kind.length)}${kindName(kind)}` : html("span", { translate: "no" }, name);
}

function shares({ files, decided, right }) {
  const width = (share) => html("meter", { value: share, "aria-hidden": "true" });
  return [
    html("span", {}, t("strengths.decided", { decided: percent(decided), files }), width(decided)),
    right !== null && html("span", {}, t("strengths.right", { right: percent(right) }), width(right)),
  ];
}

function accuracy({ test_metrics: metrics, test_images: images }) {
  if (!metrics?.accuracy) return t("strengths.unknown");
  return t("strengths.accuracy", { images: number(images), accuracy: percent(metrics.accuracy), interval: accuracyInterval(metrics) });
}

export const accuracyInterval = ({ accuracy_low: low, accuracy_high: high }) =>
  (low ? t("strengths.interval", { low: percent(low), high: percent(high) }) : "");
