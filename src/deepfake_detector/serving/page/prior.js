// The share of fakes at the file's source, set by a slider -> the probability that this file is a fake (Bayes' rule).
import { html } from "./dom.js";
import { number, t } from "./messages.js";
import { percent } from "./wording.js";

const CALIBRATION_PRIOR = 0.5; // share of fakes in calibration; see inference/decision.py, whose rule this is
const PRIORS = [[1, 10000], [1, 3000], [1, 1000], [1, 300], [1, 100], [1, 30], [1, 10], [1, 4], [1, 2], [3, 4]]; // "1 in 10,000"
let selected = PRIORS.length - 2; // kept from one answer to the next: the source is often the same

export const selectedPrior = () => PRIORS[selected][0] / PRIORS[selected][1];

/** The score `p`, 0..1 -> the probability of a fake where the share of fakes is `prior`. */
export function posterior(p, prior) {
  const odds = (x) => x / (1 - x);
  if (p === 0 || p === 1) return p;
  const posteriorOdds = (odds(p) * odds(prior)) / odds(CALIBRATION_PRIOR);
  return posteriorOdds / (1 + posteriorOdds);
}

export function priorCard(answer) {
  if (answer.p_fake === null) return null;
  const output = html("output", { for: "prior", class: "prior-answer" });
  const slider = html("input", { id: "prior", type: "range", min: 0, max: PRIORS.length - 1, step: 1, value: selected, oninput: update });
  const value = html("b", { class: "prior-value" });
  function update() {
    selected = Number(slider.value);
    const [n, of] = PRIORS[selected];
    const share = t("prior.share", { a: number(n), b: number(of) });
    value.textContent = share;
    slider.setAttribute("aria-valuetext", t("prior.slider", { n, share }));
    output.replaceChildren(html("b", {}, percent(posterior(answer.p_fake, selectedPrior()))), html("span", {}, t("prior.answer", { n, share })));
  }
  update();
  return html("section", { class: "card prior", "aria-labelledby": "prior-title" },
    html("h3", { id: "prior-title" }, t("prior.title")),
    html("div", { class: "prior-line" }, html("label", { for: "prior" }, t("prior.about")), value),
    slider,
    html("div", { class: "prior-ends", "aria-hidden": "true" }, html("span", {}, t("prior.rare")), html("span", {}, t("prior.common"))),
    output,
    html("p", { class: "small" }, t("prior.note")));
}
