// Faces and explanations, in pixels of the upright picture -> boxes and heatmaps laid over it, whatever size it is shown at.
import { decide, score } from "./words.js";
import { html, icon, svg } from "./dom.js";
import { placed } from "./scale.js";

/** Give a stage the shape of its picture, so that shares of the one are shares of the other; at most `widest_px` wide. */
export function shape(stage, { width, height }, widest_px = Infinity) {
  stage.style.setProperty("--ratio", width / height);
  if (widest_px < Infinity) stage.style.setProperty("--widest", `${widest_px}px`);
}

/** Boxes with numbers. Decoration for the eye: the list of faces says the same in words. */
export function boxes(faces, { width, height }, marks) {
  return html("div", { class: "boxes", "aria-hidden": "true" }, faces.map((face) => {
    const [x, y, w, h] = face.box_px;
    const decision = decide(face.p_fake, marks);
    const box = html("div", { class: `box ${decision}${y < height / 12 ? " high" : ""}`, "data-face": face.number },
      html("span", { class: "box-tag" }, icon(decision), `${face.number}`, face.p_fake !== null && html("span", { class: "box-score" }, score(face.p_fake))));
    return placed(box, { left: x / width, top: y / height, width: w / width, height: h / height });
  }));
}

/** Every face's heatmap, turned and stretched back to where its crop was cut. */
export function heatmaps(faces, { width, height }) {
  const layers = faces.filter((face) => face.explanation).map((face) => svg("image", {
    href: png(face.explanation.heatmap_png), width: 1, height: 1, preserveAspectRatio: "none",
    transform: `matrix(${unitSquareTo(face.explanation.corners_px).join(" ")})`,
  }));
  return svg("svg", { class: "heat", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, layers);
}

/** Corners clockwise from the top left -> the affine map that puts the unit square there. */
export function unitSquareTo([topLeft, topRight, , bottomLeft]) {
  return [topRight[0] - topLeft[0], topRight[1] - topLeft[1], bottomLeft[0] - topLeft[0], bottomLeft[1] - topLeft[1], ...topLeft];
}

/** What the model was shown, and the same with the evidence on it. */
export function cropPair(explanation, name) {
  return html("div", { class: "crop-pair" },
    html("img", { src: png(explanation.crop_png), alt: `${name}, as the detector saw it` }),
    html("div", { class: "crop-heat" },
      html("img", { src: png(explanation.crop_png), alt: "" }),
      html("img", { src: png(explanation.heatmap_png), alt: `${name}, with the places that spoke for a fake coloured` })));
}

const png = (base64) => `data:image/png;base64,${base64}`;
