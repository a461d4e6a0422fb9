// Numbers and verdicts of an answer -> words. No text says that a picture is real: the detector can only find no trace.
import { isText, number, t } from "./messages.js";

const THIN_SPACE = "\u202f"; // narrow and non-breaking
const CLEAR_SHARE = 2 / 3; // of a kind of fake before it is named, as in inference/decision.py

export const EVIDENCE_LEVELS = ["weak", "moderate", "strong", "very strong"];

/** Label of a decision about a face: "fake" | "real" | "inconclusive" | "unscored". */
export const decisionLabel = (decision) => t(`decision.${decision}`);

/** 0..1 -> "93 %"; never rounded to 0 or 100. */
export function percent(p) {
  const share = (whole) => `${number(whole)}${THIN_SPACE}%`;
  if (p < 0.01) return t("number.under", { share: share(1) });
  return p > 0.99 ? t("number.over", { share: share(99) }) : share(Math.round(100 * p));
}

/** 0..1 -> three digits, never rounded to 0 or 1; null -> "not scored". */
export function score(p) {
  if (p === null) return t("number.unscored");
  if (p < 0.0005) return `<${THIN_SPACE}${number(0.001, 3)}`;
  return p >= 0.9995 ? `>${THIN_SPACE}${number(0.999, 3)}` : number(p, 3);
}

/** Seconds -> "0:03.2". */
export function clock(seconds) {
  const tenths = Math.round(10 * Math.max(seconds, 0));
  return `${Math.floor(tenths / 600)}:${String(Math.floor((tenths % 600) / 10)).padStart(2, "0")}.${tenths % 10}`;
}

export function bytes(size) {
  if (size < 1024) return t("number.bytes", { n: size });
  const mebi = size / 2 ** 20;
  return mebi < 1 ? `${number(Math.round(size / 1024))} KiB` : `${number(mebi, 1)} MiB`;
}

export const sentence = (text) => text && text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
export const faceCount = (n) => t("number.faces", { n });
export const frameCount = (n) => t("number.frames", { n });

/** A score and the thresholds -> "fake" | "real" | "inconclusive" | "unscored", as inference/decision.py decides. */
export function decisionOf(p, thresholds) {
  if (p === null) return "unscored";
  if (p >= thresholds.flag) return "fake";
  return p <= thresholds.clear ? "real" : "inconclusive";
}

/** The thresholds of an answer's score, and of tracks: a video has its own. Those of its frames are the model's. */
export const thresholdsOf = (answer) => answer.thresholds ?? answer.model.thresholds;

/** Status of an answer, which names its colour and its icon. */
export const statusOf = (answer) => (answer.p_fake === null ? "unscored" : answer.verdict);

/** The faces of an image or the long tracks of a video that have a score: the verdict depends on them. */
export function decisiveFaces(answer) {
  const faces = answer.kind === "video" ? answer.tracks.filter((track) => track.long) : answer.faces;
  return faces.filter((face) => face.p_fake !== null);
}

/** The kind of fake with a clear majority, or null. */
export function leadingKind(shares) {
  const [kind, share] = Object.entries(shares ?? {}).reduce((a, b) => (b[1] > a[1] ? b : a), ["", 0]);
  return share >= CLEAR_SHARE ? kind : null;
}

export const kindName = (kind) => (isText(`kind.${kind}`) ? t(`kind.${kind}`) : kind);

/** The case of an answer, which its headline and its advice are about. */
function caseOf(answer) {
  if (answer.p_fake !== null) return answer.verdict;
  return answer.faces.length ? "unscored" : "no_face";
}

/** The verdict in one line. */
export function headline(answer) {
  const found = caseOf(answer);
  if (found !== "fake") return t(`verdict.${found}`);
  const faces = decisiveFaces(answer);
  const flagged = faces.filter((face) => face.p_fake >= thresholdsOf(answer).flag).length;
  if (faces.length > 1) return t("verdict.faces", { n: flagged, total: faces.length });
  const key = `verdict.fake.${leadingKind(answer.kind_of_fake)}`;
  return t(isText(key) ? key : "verdict.fake");
}

/** What the verdict means for the reader, in two sentences. */
export const advice = (answer) => t(`advice.${caseOf(answer)}`);
