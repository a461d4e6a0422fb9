// An answered picture -> the picture with its faces boxed and, if wanted, the evidence laid over it.
import { boxes, heatmaps, shape } from "./overlay.js";
import { counted } from "./words.js";
import { html } from "./dom.js";

const SMALL_PX = 480; // smaller pictures are enlarged to this, so that boxes and heat can be told apart
let heat = false; // as it was left with the last answer

export function pictureOf({ answer, address }) {
  const faces = numbered(answer.faces);
  const stage = html("div", { class: "stage" });
  const image = html("img", { alt: `The picture you chose, with ${counted(faces.length, "face")} marked` });
  image.addEventListener("load", () => {
    // The browser turns pictures as their EXIF says, and so does the service: its pixels are these.
    const size = { width: image.naturalWidth, height: image.naturalHeight };
    shape(stage, size, Math.max(size.width, SMALL_PX));
    stage.append(heatmaps(faces, size), boxes(faces, size, answer.model.thresholds));
  });
  image.addEventListener("error", () => stage.replaceChildren(html("p", { class: "unseen" },
    "Your browser cannot show this format. The service could: its answer stands.")));
  image.src = address;
  stage.append(image);
  return html("figure", {}, html("div", { class: "mat" }, stage), legend(faces, stage));
}

/** Faces as people count them. */
export const numbered = (faces) => faces.map((face, place) => ({ ...face, number: place + 1 }));

function legend(faces, stage) {
  if (!faces.some((face) => face.explanation)) return null;
  const show = (on) => { heat = on; stage.classList.toggle("with-heat", on); };
  const toggle = html("input", { type: "checkbox", role: "switch", id: "heat", checked: heat, onchange: () => show(toggle.checked) });
  show(heat);
  return html("figcaption", { class: "legend" },
    html("label", { class: "switch", for: "heat" }, toggle, "Show where the evidence lies"),
    html("p", { class: "small" }, html("span", { class: "swatch for" }), "Orange spoke for a fake, ", html("span", { class: "swatch against" }), "green against. A hint where to look, not the outline of a change."));
}
