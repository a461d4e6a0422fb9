// A score (0..1) and the model's thresholds -> a scale with three zones and a pointer.
import { DECISION_LABELS, decisionOf, score } from "./wording.js";
import { html, placeAt } from "./dom.js";

export function scoreScale(p, thresholds, { compact = false } = {}) {
  const { flag } = thresholds;
  const clear = Math.min(thresholds.clear, flag);
  const decision = decisionOf(p, thresholds);
  const zones = [["real", 0, clear], ["inconclusive", clear, flag], ["fake", flag, 1]].map(([name, from, to]) =>
    placeAt(html("span", { class: `zone ${name}` }), { left: from, width: to - from }));
  const pointer = placeAt(html("span", { class: `pointer ${decision}` }, compact ? "" : html("b", {}, score(p))), { left: p });
  if (p > 0.9) pointer.classList.add("at-end");
  if (p < 0.1) pointer.classList.add("at-start");
  const label = `Score ${score(p)}, ${DECISION_LABELS[decision]}. No trace up to ${score(thresholds.clear)}, fake from ${score(flag)}.`;
  const names = [
    html("span", {}, `no trace up to ${twoDigits(clear)}`),
    html("span", {}, "inconclusive"),
    html("span", {}, `fake from ${twoDigits(flag)}`),
  ];
  return html("div", { class: compact ? "scale compact" : "scale", role: "img", "aria-label": label },
    html("div", { class: "scale-track" }, zones, pointer), !compact && html("div", { class: "scale-names" }, names));
}

const twoDigits = (p) => p.toFixed(2);
