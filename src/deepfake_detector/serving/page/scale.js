// A score (0..1) and the model's two marks -> a picture of where it lies: three zones and a pointer.
import { called, decide, score } from "./words.js";
import { html } from "./dom.js";

export function scale(p, marks, { compact = false } = {}) {
  const clear = Math.min(marks.clear, marks.flag);
  const decision = decide(p, marks);
  const zones = [["real", 0, clear], ["inconclusive", clear, marks.flag], ["fake", marks.flag, 1]].map(([name, from, to]) =>
    placed(html("span", { class: `zone ${name}` }), { left: from, width: to - from }));
  const pointer = placed(html("span", { class: `pointer ${decision}` }, compact ? "" : html("b", {}, score(p))), { left: p });
  if (p > 0.9) pointer.classList.add("at-end");
  if (p < 0.1) pointer.classList.add("at-start");
  const label = `Score ${score(p)}, ${called[decision]}. No trace up to ${score(marks.clear)}, fake from ${score(marks.flag)}.`;
  const names = [
    html("span", {}, `no trace up to ${short(clear)}`),
    html("span", {}, "too close to call"),
    html("span", {}, `fake from ${short(marks.flag)}`),
  ];
  return html("div", { class: compact ? "scale compact" : "scale", role: "img", "aria-label": label },
    html("div", { class: "scale-track" }, zones, pointer), !compact && html("div", { class: "scale-names" }, names));
}

const short = (p) => p.toFixed(2);

/** Put an element at shares of its parent's width (and height, from above). */
export function placed(element, shares) {
  for (const [name, share] of Object.entries(shares)) element.style[name] = `${(100 * share).toFixed(3)}%`;
  return element;
}
