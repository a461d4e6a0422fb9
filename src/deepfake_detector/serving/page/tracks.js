// Tracks of a video -> one row each: when the face is visible, and its score in each frame.
import { clock, DECISION_LABELS, decisionOf, score } from "./wording.js";
import { html, placeAt } from "./dom.js";

export function trackRows(answer, shareOf) {
  const { thresholds } = answer.model;
  return answer.tracks.map((track, number) => {
    const span = placeAt(html("span", { class: "track-span" }), { left: shareOf(track.start_s), width: shareOf(track.end_s) - shareOf(track.start_s) });
    const faces = answer.faces.filter((face) => face.track === number);
    const label = `Face ${number + 1}: ${DECISION_LABELS[decisionOf(track.p_fake, thresholds)]}, score ${score(track.p_fake)}, visible from ${clock(track.start_s)} to ${clock(track.end_s)}`;
    return html("div", { class: `strip-row track-row${track.long ? "" : " short-track"}` },
      html("span", { class: "strip-name" }, `Face ${number + 1}`),
      html("div", { class: "strip", role: "img", "aria-label": label }, span, faces.map((face) =>
        placeAt(html("span", { class: `track-dot ${decisionOf(face.p_fake, thresholds)}` }), { left: shareOf(face.t_s) }))));
  });
}
