// A score (0..1) and the model's thresholds -> a scale with three zones and a pointer.
import { decisionLabel, decisionOf, score } from "./wording.js";
import { html, placeAt } from "./dom.js";
import { number, t } from "./messages.js";

export function scoreScale(p, thresholds, { compact = false } = {}) {
  const { flag } = thresholds;
  const clear = Math.min(thresholds.clear, flag);
  const decision = decisionOf(p, thresholds);
  const zones = [["real", 0, clear], ["inconclusive", clear, flag], ["fake", flag, 1]].map(([name, from, to]) =>
    placeAt(html("span", { class: `zone ${name}` }), { left: from, width: to - from }));
  const pointer = placeAt(html("span", { class: `pointer ${decision}` }, compact ? "" : html("b", {}, score(p))), { left: p });
  if (p > 0.9) pointer.classList.add("at-end");
  if (p < 0.1) pointer.classList.add("at-start");
  const label = t("score.scale", { score: score(p), decision: decisionLabel(decision), clear: score(thresholds.clear), flag: score(flag) });
  const names = [
    html("span", {}, t("score.zone.real", { clear: number(clear, 2) })),
    html("span", {}, decisionLabel("inconclusive")),
    html("span", {}, t("score.zone.fake", { flag: number(flag, 2) })),
  ];
  return html("div", { class: compact ? "scale compact" : "scale", role: "img", "aria-label": label },
    html("div", { class: "scale-track" }, zones, pointer), !compact && html("div", { class: "scale-names" }, names));
}
