// The faces of a picture, or the people of a clip -> one card each: what the detector saw, its score, its remark.
import { called, clock, counted, decide, kindName, leadingKind, score, sentence } from "./words.js";
import { html, icon } from "./dom.js";
import { cropPair } from "./overlay.js";
import { numbered } from "./picture.js";
import { scale } from "./scale.js";

export function facesOf(answer) {
  const cards = answer.kind === "video"
    ? answer.tracks.map((track, place) => card({ ...track, number: place + 1 }, answer, trackRemark(track, answer)))
    : numbered(answer.faces).map((face) => card(face, answer, face.problem && sentence(face.problem)));
  if (!cards.length) return null;
  return html("section", { "aria-labelledby": "faces-title" },
    html("h3", { id: "faces-title" }, counted(cards.length, "face")),
    html("ol", { class: "faces" }, cards));
}

function card(face, answer, remark) {
  const marks = answer.model.thresholds;
  const decision = decide(face.p_fake, marks);
  const kind = decision === "fake" && leadingKind(face.kind_of_fake);
  return html("li", { class: `face ${decision}`, onmouseenter: () => point(face.number, true), onmouseleave: () => point(face.number, false) },
    face.explanation && cropPair(face.explanation, `Face ${face.number}`),
    html("div", { class: "face-words" },
      html("p", { class: "face-name" }, icon(decision), html("b", {}, `Face ${face.number}`), html("span", {}, called[decision])),
      face.p_fake !== null && html("div", { class: "face-score" }, scale(face.p_fake, marks, { compact: true }), html("span", { class: "number" }, score(face.p_fake))),
      kind && html("p", { class: "small" }, `Kind of fake: ${kindName(kind).toLowerCase()}`),
      remark && html("p", { class: "small" }, remark)));
}

function trackRemark(track, answer) {
  const seen = track.start_s === track.end_s ? `at ${clock(track.start_s)}` : `${clock(track.start_s)} to ${clock(track.end_s)}`;
  const short = track.long ? "" : "; too few to decide about the clip";
  return `Seen ${seen}, judged in ${track.frames} of ${counted(answer.timeline.length, "frame")}${short}.`;
}

/** Lift the box of the face whose card is under the pointer. */
function point(number, on) {
  for (const box of document.querySelectorAll(`.box[data-face="${number}"]`)) box.classList.toggle("lifted", on);
}
