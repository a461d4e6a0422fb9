// Faces of an image, or tracks of a video -> one card each: crop, heatmaps, score, note.
import { clock, decisionLabel, decisionOf, faceCount, frameCount, kindName, leadingKind, score, sentence, thresholdsOf } from "./wording.js";
import { html, icon } from "./dom.js";
import { explanationView } from "./overlay.js";
import { numbered } from "./image_view.js";
import { scoreScale } from "./scale.js";
import { t } from "./messages.js";

export function facesSection(answer) {
  const cards = answer.kind === "video"
    ? answer.tracks.map((track, index) => card({ ...track, number: index + 1 }, answer, trackNote(track, answer)))
    : numbered(answer.faces).map((face) => card(face, answer, face.problem && html("span", { lang: "en" }, sentence(face.problem))));
  if (!cards.length) return null;
  const explained = answer.kind === "image" && answer.faces.filter((face) => face.explanation);
  return html("section", { "aria-labelledby": "faces-title" },
    html("h3", { id: "faces-title" }, faceCount(cards.length)),
    explained.length > 0 && html("p", { class: "small" }, t(explained.some((face) => face.explanation.relative_png) ? "faces.columns" : "faces.columns.flat")),
    html("ol", { class: "faces" }, cards));
}

function card(face, answer, note) {
  const thresholds = thresholdsOf(answer);
  const decision = decisionOf(face.p_fake, thresholds);
  const kind = decision === "fake" && leadingKind(face.kind_of_fake);
  const name = t("faces.face", { n: face.number });
  return html("li", { class: `face ${decision}`, onmouseenter: () => highlight(face.number, true), onmouseleave: () => highlight(face.number, false) },
    face.explanation && explanationView(face.explanation, name),
    html("div", { class: "face-words" },
      html("p", { class: "face-name" }, icon(decision), html("b", {}, name), html("span", {}, decisionLabel(decision))),
      face.p_fake !== null && html("div", { class: "face-score" }, scoreScale(face.p_fake, thresholds, { compact: true }), html("span", { class: "number" }, score(face.p_fake))),
      kind && html("p", { class: "small" }, t("faces.kind", { kind: kindName(kind) })),
      note && html("p", { class: "small" }, note)));
}

function trackNote(track, answer) {
  const key = track.start_s === track.end_s ? "faces.visible.once" : "faces.visible";
  const note = t(key, { start: clock(track.start_s), end: clock(track.end_s), frames: track.frames, total: frameCount(answer.timeline.length) });
  return track.long ? note : `${note} ${t("faces.short")}`;
}

/** Highlight the box of the face whose card is under the pointer. */
function highlight(number, on) {
  for (const box of document.querySelectorAll(`.box[data-face="${number}"]`)) box.classList.toggle("highlighted", on);
}
