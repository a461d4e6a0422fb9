// GET /about -> facts about the served model: why it is served, training data, test accuracy, thresholds.
import { accuracyInterval } from "./coverage.js";
import { factList } from "./facts.js";
import { html } from "./dom.js";
import { list, number, t } from "./messages.js";
import { kindName, percent, score, sentence } from "./wording.js";

export function modelLine(about) {
  const name = about.name === "pretrained" ? t("model.pretrained") : sentence(about.name).slice(0, -1);
  return t("model.line", { name, data: trainingData(about) });
}

/** A warning for models that were not trained on photographs, or null. */
export function trainingDataWarning(about) {
  if (about.trained_on === "photographs") return null;
  return html("p", { class: "warning", role: "note" }, html("b", {}, t("model.warning")), " ", t("model.warning.more"));
}

export function modelFacts(about) {
  const { clear, flag, strict } = about.thresholds;
  const names = Object.keys(about.data_sha256 ?? {});
  return factList([
    [t("model.reason"), html("span", { lang: "en" }, sentence(about.reason))],
    [t("model.data"), [t("model.faces", { n: about.train_images, data: trainingData(about) }), names.length > 0 && html("span", { translate: "no" }, ` (${names.join(", ")})`)]],
    [t("model.classes"), list([t("model.real"), ...about.kinds.map(kindName)])],
    [t("model.accuracy"), about.test_metrics?.accuracy && `${percent(about.test_metrics.accuracy)}${accuracyInterval(about.test_metrics)}`],
    [t("model.thresholds"), t("model.thresholds.values", { clear: score(clear), flag: score(flag), strict: score(strict) })],
    [t("model.smallest"), t("model.pixels", { n: about.min_face_px })],
    ["SHA-256", html("code", { translate: "no" }, about.sha256)],
  ]);
}

const trainingData = (about) => t(about.trained_on === "photographs" ? "model.photographs" : "model.drawn");
