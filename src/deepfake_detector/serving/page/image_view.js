// An image and its answer -> the image with boxes around its faces and, if switched on, their heatmaps.
import { boxes, heatmaps, setAspectRatio } from "./overlay.js";
import { count } from "./wording.js";
import { html } from "./dom.js";

const MIN_DISPLAY_PX = 480; // smaller images are enlarged, so that boxes and heatmaps are legible
let heatmapOn = false; // kept from one answer to the next

export function imageView({ answer, address }) {
  const faces = numbered(answer.faces);
  const container = html("div", { class: "media-view" });
  const image = html("img", { alt: `The picture you chose, with ${count(faces.length, "face")} marked` });
  image.addEventListener("load", () => {
    // The browser applies the EXIF orientation, as the service does: the answer's pixels are these.
    const size = { width: image.naturalWidth, height: image.naturalHeight };
    setAspectRatio(container, size, Math.max(size.width, MIN_DISPLAY_PX));
    container.append(heatmaps(faces, size), boxes(faces, size, answer.model.thresholds));
  });
  image.addEventListener("error", () => container.replaceChildren(html("p", { class: "not-shown" },
    "Your browser cannot show this format. The service can read it: the answer is complete.")));
  image.src = address;
  container.append(image);
  return html("figure", {}, html("div", { class: "media-frame" }, container), heatmapSwitch(faces, container));
}

/** Faces with their numbers, from 1. */
export const numbered = (faces) => faces.map((face, index) => ({ ...face, number: index + 1 }));

function heatmapSwitch(faces, container) {
  if (!faces.some((face) => face.explanation)) return null;
  const show = (on) => { heatmapOn = on; container.classList.toggle("with-heatmap", on); };
  const toggle = html("input", { type: "checkbox", role: "switch", id: "heatmap-switch", checked: heatmapOn, onchange: () => show(toggle.checked) });
  show(heatmapOn);
  return html("figcaption", { class: "legend" },
    html("label", { class: "switch", for: "heatmap-switch" }, toggle, "Show the heatmap"),
    html("p", { class: "small" }, html("span", { class: "swatch for" }), "Orange is evidence for a fake, ", html("span", { class: "swatch against" }), "green against. It shows where to look, not the outline of a change."));
}
