// Faces and explanations, in pixels of the upright picture -> boxes and heatmaps over it, at any display size.
import { decisionOf, score } from "./wording.js";
import { html, icon, placeAt, svg } from "./dom.js";
import { t } from "./messages.js";

/** Give a container the aspect ratio of its picture, so that shares of both are equal; at most `maxWidthPx` wide. */
export function setAspectRatio(container, { width, height }, maxWidthPx = Infinity) {
  container.style.setProperty("--ratio", width / height);
  if (maxWidthPx < Infinity) container.style.setProperty("--max-width", `${maxWidthPx}px`);
}

/** Numbered boxes. Screen readers skip them: the list of faces has the same content. */
export function boxes(faces, { width, height }, thresholds) {
  return html("div", { class: "boxes", "aria-hidden": "true" }, faces.map((face) => {
    const [x, y, w, h] = face.box_px;
    const decision = decisionOf(face.p_fake, thresholds);
    const box = html("div", { class: `box ${decision}${y < height / 12 ? " at-top" : ""}`, "data-face": face.number },
      html("span", { class: "box-tag" }, icon(decision), `${face.number}`, face.p_fake !== null && html("span", { class: "box-score" }, score(face.p_fake))));
    return placeAt(box, { left: x / width, top: y / height, width: w / width, height: h / height });
  }));
}

/** The heatmap of every face, "heatmap" or "relative", transformed back to where its crop was taken. */
export function heatmaps(faces, { width, height }, name) {
  const layers = faces.filter((face) => face.explanation?.[`${name}_png`]).map((face) => svg("image", {
    href: png(face.explanation[`${name}_png`]), width: 1, height: 1, preserveAspectRatio: "none",
    transform: `matrix(${unitSquareTo(face.explanation.corners_px).join(" ")})`,
  }));
  return svg("svg", { class: `heatmap ${name}`, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, layers);
}

/** Corners, clockwise from the top left -> the affine map from the unit square to them. */
export function unitSquareTo([topLeft, topRight, , bottomLeft]) {
  return [topRight[0] - topLeft[0], topRight[1] - topLeft[1], bottomLeft[0] - topLeft[0], bottomLeft[1] - topLeft[1], ...topLeft];
}

/** The crop that the model scored; the same with its heatmap, and with the places where it is strongest, if some are. */
export function explanationView(explanation, face) {
  const { crop_png: crop, heatmap_png: evidence, relative_png: relative } = explanation;
  return html("div", { class: `crops${relative ? " three" : ""}` },
    html("img", { src: png(crop), alt: t("faces.crop", { face }) }),
    withOverlay(crop, evidence, t("faces.evidence", { face })),
    relative && withOverlay(crop, relative, t("faces.relative", { face })));
}

function withOverlay(crop, overlay, alt) {
  return html("div", { class: "crop-heatmap" }, html("img", { src: png(crop), alt: "" }), html("img", { src: png(overlay), alt }));
}

const png = (base64) => `data:image/png;base64,${base64}`;
