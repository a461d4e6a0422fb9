// Faces of an image, or tracks of a video -> one card each: crop, heatmap, score, note.
import { clock, count, DECISION_LABELS, decisionOf, kindName, leadingKind, score, sentence } from "./wording.js";
import { html, icon } from "./dom.js";
import { cropPair } from "./overlay.js";
import { numbered } from "./image_view.js";
import { scoreScale } from "./scale.js";

export function facesSection(answer) {
  const cards = answer.kind === "video"
    ? answer.tracks.map((track, index) => card({ ...track, number: index + 1 }, answer, trackNote(track, answer)))
    : numbered(answer.faces).map((face) => card(face, answer, face.problem && sentence(face.problem)));
  if (!cards.length) return null;
  return html("section", { "aria-labelledby": "faces-title" },
    html("h3", { id: "faces-title" }, count(cards.length, "face")),
    html("ol", { class: "faces" }, cards));
}

function card(face, answer, note) {
  const { thresholds } = answer.model;
  const decision = decisionOf(face.p_fake, thresholds);
  const kind = decision === "fake" && leadingKind(face.kind_of_fake);
  return html("li", { class: `face ${decision}`, onmouseenter: () => highlight(face.number, true), onmouseleave: () => highlight(face.number, false) },
    face.explanation && cropPair(face.explanation, `Face ${face.number}`),
    html("div", { class: "face-words" },
      html("p", { class: "face-name" }, icon(decision), html("b", {}, `Face ${face.number}`), html("span", {}, DECISION_LABELS[decision])),
      face.p_fake !== null && html("div", { class: "face-score" }, scoreScale(face.p_fake, thresholds, { compact: true }), html("span", { class: "number" }, score(face.p_fake))),
      kind && html("p", { class: "small" }, `Kind of fake: ${kindName(kind).toLowerCase()}`),
      note && html("p", { class: "small" }, note)));
}

function trackNote(track, answer) {
  const span = track.start_s === track.end_s ? `at ${clock(track.start_s)}` : `from ${clock(track.start_s)} to ${clock(track.end_s)}`;
  const short = track.long ? "" : "; too short to decide about the video";
  return `Visible ${span}, scored in ${track.frames} of ${count(answer.timeline.length, "frame")}${short}.`;
}

/** Highlight the box of the face whose card is under the pointer. */
function highlight(number, on) {
  for (const box of document.querySelectorAll(`.box[data-face="${number}"]`)) box.classList.toggle("highlighted", on);
}
