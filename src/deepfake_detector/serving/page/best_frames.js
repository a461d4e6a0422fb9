// The frames with the strongest evidence -> cards that seek when chosen.
import { clock, score } from "./words.js";
import { cropPair } from "./overlay.js";
import { html } from "./dom.js";

export function bestFramesOf(answer, go) {
  const frames = answer.best_frames ?? [];
  if (!frames.length) return null;
  return html("section", { "aria-labelledby": "best-title" },
    html("h3", { id: "best-title" }, "Frames that weigh most"),
    html("ol", { class: "best" }, frames.map((frame) => html("li", {},
      frame.explanation && cropPair(frame.explanation, `Face ${frame.track + 1} at ${clock(frame.t_s)}`),
      html("div", { class: "best-words" },
        html("button", { type: "button", class: "link", onclick: () => go(frame.t_s) }, `Show ${clock(frame.t_s)}`),
        html("span", { class: "number" }, score(frame.p_fake)),
        answer.tracks.length > 1 && html("span", { class: "small" }, `Face ${frame.track + 1}`))))));
}
