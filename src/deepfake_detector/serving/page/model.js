// GET /about -> facts about the served model: why it is served, training data, test accuracy, thresholds.
import { count, kindName, percent, score, sentence } from "./wording.js";
import { html } from "./dom.js";

export function modelLine(about) {
  return `${about.name === "pretrained" ? "Pretrained model" : sentence(about.name).slice(0, -1)}, trained on ${trainingData(about)}`;
}

/** A warning for models that were not trained on photographs, or null. */
export function trainingDataWarning(about) {
  if (about.trained_on === "photographs") return null;
  return html("p", { class: "warning", role: "note" }, html("b", {}, "This model knows drawings, not photographs. "),
    `It was trained on the ${about.trained_on} that comes with the software. Its answers about real pictures and videos are unreliable.`);
}

export function modelFacts(about) {
  const { clear, flag, strict } = about.thresholds;
  const facts = [
    ["Why this model", sentence(about.reason)],
    ["Training data", `${count(about.train_images, "face")}: ${trainingData(about)}${sources(about)}`],
    ["Classes", ["real faces", ...about.kinds.map((kind) => `${kindName(kind).toLowerCase()}s`)].join(", ")],
    ["Test accuracy", accuracy(about)],
    ["Thresholds", `no trace up to ${score(clear)}, fake from ${score(flag)}, strict from ${score(strict)}`],
    ["Smallest face", `${about.min_face_px} pixels`],
    ["SHA-256", html("code", {}, about.sha256)],
  ].filter(([, value]) => value);
  return html("dl", { class: "facts" }, facts.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));
}

const trainingData = (about) => (about.trained_on === "photographs" ? "photographs" : `the ${about.trained_on}`);

function sources({ data_sha256: digests }) {
  const names = Object.keys(digests ?? {});
  return names.length ? ` (${names.join(", ")})` : "";
}

function accuracy({ test_metrics: metrics, test_images: images }) {
  if (!metrics?.accuracy) return null;
  const interval = metrics.accuracy_low ? ` (${percent(metrics.accuracy_low)} to ${percent(metrics.accuracy_high)})` : "";
  return `${percent(metrics.accuracy)}${interval} on ${images.toLocaleString("en")} test pictures, without abstaining`;
}
