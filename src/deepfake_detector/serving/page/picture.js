// An answered picture -> the picture with its faces boxed and, if wanted, the evidence laid over it.
import { boxes, heatmaps } from "./overlay.js";
import { counted } from "./words.js";
import { html } from "./dom.js";

let heat = false; // as it was left with the last answer

export function pictureOf({ answer, address }) {
  const faces = numbered(answer.faces);
  const stage = html("div", { class: "stage" });
  const image = html("img", { alt: `The picture you chose, with ${counted(faces.length, "face")} marked` });
  image.addEventListener("load", () => {
    // The browser turns pictures as their EXIF says, and so does the service: its pixels are these.
    const size = { width: image.naturalWidth, height: image.naturalHeight };
    stage.append(heatmaps(faces, size), boxes(faces, size, answer.model.thresholds));
  });
  image.addEventListener("error", () => stage.replaceChildren(html("p", { class: "unseen" },
    "Your browser cannot show this format. The service could: its answer stands.")));
  image.src = address;
  stage.append(image);
  return html("figure", { class: "media" }, stage, legend(faces, stage));
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
    html("span", { class: "small" }, "Coloured places spoke for a fake. They are a hint where to look, not an outline of a change."));
}
