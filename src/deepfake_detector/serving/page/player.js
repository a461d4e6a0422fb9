// An answered clip -> a player that shows boxes at the frames that were judged, and seek(t_s) for whoever wants a moment.
import { html } from "./dom.js";
import { boxes, shape } from "./overlay.js";

const NEAR_S = 0.06; // between boxes and the frame on show; faces move

export function playerOf({ answer, address, file }) {
  const stage = html("div", { class: "stage" });
  const faces = answer.faces.map((face) => ({ ...face, number: face.track + 1 }));
  const video = html("video", { controls: true, muted: true, playsinline: true, preload: "auto", "aria-label": `The video you chose: ${file.name}` });
  stage.append(video);
  const mark = () => {
    stage.querySelector(".boxes")?.remove();
    const here = faces.filter((face) => Math.abs(face.t_s - video.currentTime) <= NEAR_S);
    const size = { width: video.videoWidth, height: video.videoHeight };
    if (video.paused && here.length && size.width) stage.append(boxes(here, size, answer.model.thresholds));
  };
  for (const event of ["loadeddata", "seeked", "seeking", "play", "pause"]) video.addEventListener(event, mark);
  video.addEventListener("loadedmetadata", () => shape(stage, { width: video.videoWidth || 16, height: video.videoHeight || 9 }));
  video.addEventListener("error", () => stage.replaceChildren(unplayable(file, address)));
  video.src = address;
  const seek = (t_s) => {
    video.pause();
    video.currentTime = t_s;
  };
  return { figure: html("figure", {}, html("div", { class: "mat" }, stage)), video, seek };
}

/** Some formats are judged and cannot be played here; a GIF is no video for browsers, but it moves. */
function unplayable(file, address) {
  if (file.type === "image/gif") return html("img", { src: address, alt: `The moving picture you chose: ${file.name}` });
  return html("p", { class: "unseen" }, "Your browser cannot play this format. The service could read it: its answer and the timeline stand.");
}
