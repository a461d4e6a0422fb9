// A video and its answer -> a player with boxes at the scored frames, and seek(t_s).
import { html } from "./dom.js";
import { boxes, setAspectRatio } from "./overlay.js";
import { t } from "./messages.js";

const MAX_OFFSET_S = 0.06; // between the frame on show and a scored frame whose boxes are shown: faces move

export function videoView({ answer, address, file }) {
  const container = html("div", { class: "media-view" });
  const faces = answer.faces.map((face) => ({ ...face, number: face.track + 1 }));
  const video = html("video", { controls: true, muted: true, playsinline: true, preload: "auto", "aria-label": t("video.label", { file: file.name }) });
  container.append(video);
  const updateBoxes = () => {
    container.querySelector(".boxes")?.remove();
    const visible = faces.filter((face) => Math.abs(face.t_s - video.currentTime) <= MAX_OFFSET_S);
    const size = { width: video.videoWidth, height: video.videoHeight };
    if (video.paused && visible.length && size.width) container.append(boxes(visible, size, answer.model.thresholds));
  };
  for (const event of ["loadeddata", "seeked", "seeking", "play", "pause"]) video.addEventListener(event, updateBoxes);
  video.addEventListener("loadedmetadata", () => setAspectRatio(container, { width: video.videoWidth || 16, height: video.videoHeight || 9 }));
  video.addEventListener("error", () => container.replaceChildren(fallback(file, address)));
  video.src = address;
  const seek = (t_s) => {
    video.pause();
    video.currentTime = t_s;
  };
  return { figure: html("figure", {}, html("div", { class: "media-frame" }, container)), video, seek };
}

/** What is shown of a video that the browser cannot play; an animation is an image for browsers. */
function fallback(file, address) {
  const message = html("p", { class: "not-shown" }, t("video.not_played"));
  if (!file.type.startsWith("image/")) return message;
  const image = html("img", { src: address, alt: t("video.animation", { file: file.name }) });
  image.addEventListener("error", () => image.replaceWith(message));
  return image;
}
