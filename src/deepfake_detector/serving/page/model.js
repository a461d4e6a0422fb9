// GET /about -> which model answers, why, on what it was trained, and how often it was right.
import { counted, kindName, percent, score, sentence } from "./words.js";
import { html } from "./dom.js";

export function modelLine(about) {
  return `${about.name === "pretrained" ? "Shipped model" : sentence(about.name).slice(0, -1)}, trained on ${trainedOn(about)}`;
}

/** A model of drawings answers about photographs, too, but its answers mean little. */
export function drawnWarning(about) {
  if (about.trained_on === "photographs") return null;
  return html("p", { class: "warning", role: "note" }, html("b", {}, "This model knows drawings, not photographs. "),
    `It was trained on the ${about.trained_on} that comes with the software. Its answers about real pictures and videos mean little.`);
}

export function modelFacts(about) {
  const facts = [
    ["Why this one", sentence(about.reason)],
    ["Trained on", `${counted(about.train_images, "face")}: ${trainedOn(about)}${sources(about)}`],
    ["Tells apart", ["real faces", ...about.kinds.map((kind) => `${kindName(kind).toLowerCase()}s`)].join(", ")],
    ["Was right on", right(about)],
    ["Marks", `no trace up to ${score(about.thresholds.clear)}, fake from ${score(about.thresholds.flag)}, strict alarms from ${score(about.thresholds.strict)}`],
    ["Smallest face", `${about.min_face_px} pixels`],
    ["Fingerprint", html("code", {}, about.sha256)],
  ].filter(([, value]) => value);
  return html("dl", { class: "facts" }, facts.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));
}

const trainedOn = (about) => (about.trained_on === "photographs" ? "photographs" : `the ${about.trained_on}`);

function sources({ data_sha256: digests }) {
  const names = Object.keys(digests ?? {});
  return names.length ? ` (${names.join(", ")})` : "";
}

function right({ test_metrics: found, test_images: images }) {
  if (!found?.accuracy) return null;
  const spread = found.accuracy_low ? ` (${percent(found.accuracy_low)} to ${percent(found.accuracy_high)})` : "";
  return `${percent(found.accuracy)}${spread} of ${images.toLocaleString("en")} test pictures, when made to decide each time`;
}
