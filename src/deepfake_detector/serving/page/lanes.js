// Tracks of a clip -> one lane each: from when to when the face was seen, and how it scored in each judged frame.
import { called, clock, decide, score } from "./words.js";
import { html } from "./dom.js";
import { placed } from "./scale.js";

export function lanes(answer, at) {
  const marks = answer.model.thresholds;
  return answer.tracks.map((track, number) => {
    const seen = placed(html("span", { class: "seen" }), { left: at(track.start_s), width: at(track.end_s) - at(track.start_s) });
    const faces = answer.faces.filter((face) => face.track === number);
    const label = `Face ${number + 1}: ${called[decide(track.p_fake, marks)]}, score ${score(track.p_fake)}, seen from ${clock(track.start_s)} to ${clock(track.end_s)}`;
    return html("div", { class: `strip-row lane${track.long ? "" : " brief"}` },
      html("span", { class: "strip-name" }, `Face ${number + 1}`),
      html("div", { class: "strip", role: "img", "aria-label": label }, seen, faces.map((face) =>
        placed(html("span", { class: `sighting ${decide(face.p_fake, marks)}` }), { left: at(face.t_s) }))));
  });
}
