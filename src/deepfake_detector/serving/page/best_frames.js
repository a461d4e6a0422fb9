// `best_frames` of an answer -> cards; choosing one seeks to its frame.
import { clock, score } from "./wording.js";
import { cropPair } from "./overlay.js";
import { html } from "./dom.js";

export function bestFramesSection(answer, seek) {
  const frames = answer.best_frames ?? [];
  if (!frames.length) return null;
  return html("section", { "aria-labelledby": "best-title" },
    html("h3", { id: "best-title" }, "Frames with the strongest evidence"),
    html("ol", { class: "best-frames" }, frames.map((frame) => html("li", {},
      frame.explanation && cropPair(frame.explanation, `Face ${frame.track + 1} at ${clock(frame.t_s)}`),
      html("div", { class: "best-frame-words" },
        html("button", { type: "button", class: "link", onclick: () => seek(frame.t_s) }, `Show ${clock(frame.t_s)}`),
        html("span", { class: "number" }, score(frame.p_fake)),
        answer.tracks.length > 1 && html("span", { class: "small" }, `Face ${frame.track + 1}`))))));
}
