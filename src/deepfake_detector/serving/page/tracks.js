// Tracks of a video -> one row each: when the face is visible, and its score in each frame.
import { clock, decisionLabel, decisionOf, score, thresholdsOf } from "./wording.js";
import { html, placeAt } from "./dom.js";
import { t } from "./messages.js";

export function trackRows(answer, shareOf) {
  const { thresholds } = answer.model; // of frames
  return answer.tracks.map((track, index) => {
    const span = placeAt(html("span", { class: "track-span" }), { left: shareOf(track.start_s), width: shareOf(track.end_s) - shareOf(track.start_s) });
    const faces = answer.faces.filter((face) => face.track === index);
    const decision = decisionLabel(decisionOf(track.p_fake, thresholdsOf(answer)));
    const label = t("timeline.track", { n: index + 1, decision, score: score(track.p_fake), start: clock(track.start_s), end: clock(track.end_s) });
    return html("div", { class: `strip-row track-row${track.long ? "" : " short-track"}` },
      html("span", { class: "strip-name" }, t("faces.face", { n: index + 1 })),
      html("div", { class: "strip", role: "img", "aria-label": label }, span, faces.map((face) =>
        placeAt(html("span", { class: `track-dot ${decisionOf(face.p_fake, thresholds)}` }), { left: shareOf(face.t_s) }))));
  });
}
