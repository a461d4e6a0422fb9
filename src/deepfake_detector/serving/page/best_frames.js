// `best_frames` of an answer -> cards; choosing one seeks to its frame.
import { clock, score } from "./wording.js";
import { explanationView } from "./overlay.js";
import { html } from "./dom.js";
import { t } from "./messages.js";

export function bestFramesSection(answer, seek) {
  const frames = answer.best_frames ?? [];
  if (!frames.length) return null;
  return html("section", { "aria-labelledby": "best-title" },
    html("h3", { id: "best-title" }, t("best.title")),
    html("p", { class: "small" }, t("best.note")),
    html("ol", { class: "best-frames" }, frames.map((frame) => html("li", {},
      frame.explanation && explanationView(frame.explanation, t("faces.at", { face: t("faces.face", { n: frame.track + 1 }), time: clock(frame.t_s) })),
      html("div", { class: "best-frame-words" },
        html("button", { type: "button", class: "link", onclick: () => seek(frame.t_s) }, t("best.show", { time: clock(frame.t_s) })),
        html("span", { class: "number" }, score(frame.p_fake)),
        answer.tracks.length > 1 && html("span", { class: "small" }, t("faces.face", { n: frame.track + 1 })))))));
}
