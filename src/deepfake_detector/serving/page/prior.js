// How common fakes are where the file comes from -> how likely this one is a fake there, moved by a slider.
import { html } from "./dom.js";
import { percent } from "./words.js";

// The classes are mixed half and half in calibration: CALIBRATED_SHARE in scoring/prior.py, whose rule this is.
const CALIBRATED_SHARE = 0.5;
const CHOICES = [
  [1 / 10000, "1 in 10,000"], [1 / 3000, "1 in 3,000"], [1 / 1000, "1 in 1,000"], [1 / 300, "1 in 300"], [1 / 100, "1 in 100"],
  [1 / 30, "1 in 30"], [1 / 10, "1 in 10"], [1 / 4, "1 in 4"], [1 / 2, "1 in 2"], [3 / 4, "3 in 4"],
];
let chosen = CHOICES.length - 2; // kept from one answer to the next: the source is often the same

export const prior = () => CHOICES[chosen][0];

/** Bayes' rule: 0..1 in a world with as many fakes as in calibration -> 0..1 where their share is `share`. */
export function posterior(p, share) {
  const odds = (x) => x / (1 - x);
  if (p === 0 || p === 1) return p;
  const moved = (odds(p) * odds(share)) / odds(CALIBRATED_SHARE);
  return moved / (1 + moved);
}

export function priorCard(answer) {
  if (answer.p_fake === null) return null;
  const output = html("output", { for: "prior", class: "prior-answer" });
  const slider = html("input", { id: "prior", type: "range", min: 0, max: CHOICES.length - 1, step: 1, value: chosen, oninput: show });
  const where = html("b", { class: "prior-value" });
  function show() {
    chosen = Number(slider.value);
    const [share, words] = CHOICES[chosen];
    where.textContent = words;
    slider.setAttribute("aria-valuetext", `${words} files is a fake`);
    output.replaceChildren(html("b", {}, percent(posterior(answer.p_fake, share))), html("span", {},
      `likely to be a fake, if ${words} files from there ${words.startsWith("1") ? "is" : "are"} fake`));
  }
  show();
  return html("section", { class: "card prior", "aria-labelledby": "prior-title" },
    html("h3", { id: "prior-title" }, "How common are fakes where this comes from?"),
    html("div", { class: "prior-line" }, html("label", { for: "prior" }, "About "), where),
    slider,
    html("div", { class: "prior-ends", "aria-hidden": "true" }, html("span", {}, "rare"), html("span", {}, "common")),
    output,
    html("p", { class: "small" }, "The rarer fakes are, the more alarms are false. The verdict above does not change with this."));
}
