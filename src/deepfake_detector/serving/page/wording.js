// Numbers and verdicts of an answer -> words. No text says that a picture is real: the detector can only find no trace.
const THIN_SPACE = "\u202f"; // narrow and non-breaking
const CLEAR_SHARE = 2 / 3; // of a kind of fake before it is named, as in inference/decision.py
const KIND_ADJECTIVES = { synthetic: "generated", swap: "swapped" };
const KIND_NAMES = { synthetic: "Generated face", swap: "Face swap" };

export const EVIDENCE_LEVELS = ["weak", "moderate", "strong", "very strong"];

/** Labels of decisions about a face. */
export const DECISION_LABELS = {
  fake: "looks fake",
  real: "no trace found",
  inconclusive: "inconclusive",
  unscored: "not scored",
};

/** 0..1 -> "93 %"; never rounded to 0 or 100. */
export function percent(p) {
  if (p < 0.01) return `under 1${THIN_SPACE}%`;
  return p > 0.99 ? `over 99${THIN_SPACE}%` : `${Math.round(100 * p)}${THIN_SPACE}%`;
}

/** 0..1 -> three digits, never rounded to 0 or 1; null -> "not scored". */
export function score(p) {
  if (p === null) return "not scored";
  if (p < 0.0005) return `<${THIN_SPACE}0.001`;
  return p >= 0.9995 ? `>${THIN_SPACE}0.999` : p.toFixed(3);
}

/** Seconds -> "0:03.2". */
export function clock(seconds) {
  const tenths = Math.round(10 * Math.max(seconds, 0));
  return `${Math.floor(tenths / 600)}:${String(Math.floor((tenths % 600) / 10)).padStart(2, "0")}.${tenths % 10}`;
}

export function bytes(size) {
  if (size < 1024) return `${size} bytes`;
  const mebi = size / 2 ** 20;
  return mebi < 1 ? `${Math.round(size / 1024)} KiB` : `${mebi.toFixed(1)} MiB`;
}

export const sentence = (text) => text && text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

/** A score and the thresholds -> "fake" | "real" | "inconclusive" | "unscored", as inference/decision.py decides. */
export function decisionOf(p, thresholds) {
  if (p === null) return "unscored";
  if (p >= thresholds.flag) return "fake";
  return p <= thresholds.clear ? "real" : "inconclusive";
}

/** The faces of an image or the long tracks of a video that have a score: the verdict depends on them. */
function decisiveFaces(answer) {
  const faces = answer.kind === "video" ? answer.tracks.filter((track) => track.long) : answer.faces;
  return faces.filter((face) => face.p_fake !== null);
}

/** The kind of fake with a clear majority, or null. */
export function leadingKind(shares) {
  const [kind, share] = Object.entries(shares ?? {}).reduce((a, b) => (b[1] > a[1] ? b : a), ["", 0]);
  return share >= CLEAR_SHARE ? kind : null;
}

export const kindName = (kind) => KIND_NAMES[kind] ?? sentence(kind).slice(0, -1);

/** The verdict in one line. */
export function headline(answer) {
  if (answer.verdict === "real") return "No trace of manipulation found";
  if (answer.p_fake === null) return answer.faces.length ? "No face could be scored" : "No face found";
  if (answer.verdict === "inconclusive") return "Inconclusive";
  const faces = decisiveFaces(answer);
  const flagged = faces.filter((face) => face.p_fake >= answer.model.thresholds.flag).length;
  if (faces.length > 1) return `${flagged} of ${faces.length} faces ${flagged === 1 ? "looks" : "look"} manipulated`;
  return `This face looks ${KIND_ADJECTIVES[leadingKind(answer.kind_of_fake)] ?? "manipulated"}`;
}

/** What the verdict means for the reader, in two sentences. */
export function advice(answer) {
  if (answer.verdict === "fake") return "This is a strong indication, not proof. Check the source before you publish or remove anything.";
  if (answer.verdict === "real") {
    return "The detector found none of the traces that it was trained to find. That does not prove that the file is genuine.";
  }
  return answer.p_fake === null
    ? "This detector scores faces only. It says nothing about this file."
    : "At this score the detector is wrong too often to decide. Treat the file as unchecked.";
}

/** What the level in `evidence` is evidence of. */
export const evidenceLabel = (answer) => (answer.verdict === "real" ? "Evidence against a fake" : "Evidence of a fake");
