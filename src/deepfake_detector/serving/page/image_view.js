// An image and its answer -> the image with boxes around its faces and, if switched on, their heatmaps.
import { boxes, heatmaps, setAspectRatio } from "./overlay.js";
import { faceCount } from "./wording.js";
import { html } from "./dom.js";
import { t } from "./messages.js";

const MIN_DISPLAY_PX = 480; // smaller images are enlarged, so that boxes and heatmaps are legible
const shown = { heatmap: false, relative: false }; // kept from one answer to the next

export function imageView({ answer, address }) {
  const faces = numbered(answer.faces);
  const container = html("div", { class: "media-view" });
  const image = html("img", { alt: t("image.alt", { faces: faceCount(faces.length) }) });
  image.addEventListener("load", () => {
    // The browser applies the EXIF orientation, as the service does: the answer's pixels are these.
    const size = { width: image.naturalWidth, height: image.naturalHeight };
    setAspectRatio(container, size, Math.max(size.width, MIN_DISPLAY_PX));
    container.append(heatmaps(faces, size, "heatmap"), heatmaps(faces, size, "relative"), boxes(faces, size, answer.model.thresholds));
  });
  image.addEventListener("error", () => container.replaceChildren(html("p", { class: "not-shown" }, t("image.not_shown"))));
  image.src = address;
  container.append(image);
  return html("figure", {}, html("div", { class: "media-frame" }, container), heatmapSwitches(faces, container));
}

/** Faces with their numbers, from 1. */
export const numbered = (faces) => faces.map((face, index) => ({ ...face, number: index + 1 }));

function heatmapSwitches(faces, container) {
  const explained = faces.filter((face) => face.explanation);
  if (!explained.length) return null;
  const hasRelative = explained.some((face) => face.explanation.relative_png);
  const update = () => {
    container.classList.toggle("with-heatmap", shown.heatmap);
    container.classList.toggle("with-relative", shown.heatmap && shown.relative && hasRelative);
    if (relative) relative.hidden = !shown.heatmap;
  };
  const relative = hasRelative ? toggle("relative", t("heatmap.relative"), update) : null;
  const figcaption = html("figcaption", { class: "legend" },
    html("div", { class: "switches" }, toggle("heatmap", t("heatmap.switch"), update), relative),
    html("p", { class: "small" }, html("span", { class: "swatch for" }), t("heatmap.for"), html("span", { class: "swatch against" }), t("heatmap.against"),
      !hasRelative && ` ${t("heatmap.flat")}`));
  update();
  return figcaption;
}

function toggle(name, label, update) {
  const input = html("input", { type: "checkbox", role: "switch", id: `${name}-switch`, checked: shown[name], onchange: () => { shown[name] = input.checked; update(); } });
  return html("label", { class: "switch", for: `${name}-switch` }, input, label);
}
