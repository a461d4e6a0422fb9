// Numbers and verdicts of an answer -> plain words. Nothing here says that a picture is real: no trace is all we can find.
const THIN = "\u202f"; // narrow no-break space
const CLEAR_SHARE = 2 / 3; // of a kind before it is named, as in scoring/fake_kind.py
const STEPS = ["weak", "moderate", "strong", "very strong"];
const LOOKS = { synthetic: "generated", swap: "swapped" };
const KINDS = { synthetic: "Generated face", swap: "Face swap" };

export const evidenceSteps = STEPS;

/** 0..1 -> "93 %", never a rounded 0 or 100. */
export function percent(p) {
  if (p < 0.01) return `under 1${THIN}%`;
  return p > 0.99 ? `over 99${THIN}%` : `${Math.round(100 * p)}${THIN}%`;
}

/** 0..1 -> three digits, never a rounded 0 or 1; or why there are none. */
export function score(p) {
  if (p === null) return "not judged";
  if (p < 0.0005) return `<${THIN}0.001`;
  return p >= 0.9995 ? `>${THIN}0.999` : p.toFixed(3);
}

/** Seconds -> "0:03.2". */
export function clock(seconds) {
  const tenths = Math.round(10 * Math.max(seconds, 0));
  return `${Math.floor(tenths / 600)}:${String(Math.floor((tenths % 600) / 10)).padStart(2, "0")}.${tenths % 10}`;
}

export function bytes(count) {
  if (count < 1024) return `${count} bytes`;
  const mebi = count / 2 ** 20;
  return mebi < 1 ? `${Math.round(count / 1024)} KiB` : `${mebi.toFixed(1)} MiB`;
}

export const sentence = (text) => text && text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** A score and the model's marks -> "fake" | "real" | "inconclusive" | "unjudged"; as scoring/verdict.py decides. */
export function decide(p, marks) {
  if (p === null) return "unjudged";
  if (p >= marks.flag) return "fake";
  return p <= marks.clear ? "real" : "inconclusive";
}

/** What a decision is called beside a face. */
export const called = {
  fake: "looks fake",
  real: "no trace found",
  inconclusive: "too close to call",
  unjudged: "not judged",
};

/** What decided: the faces of a picture, the long tracks of a clip. */
export function deciding(answer) {
  const all = answer.kind === "video" ? answer.tracks.filter((track) => track.long) : answer.faces;
  return all.filter((each) => each.p_fake !== null);
}

/** The kind that a fake looks like, or null where the model cannot tell or is not sure. */
export function leadingKind(shares) {
  const [kind, share] = Object.entries(shares ?? {}).reduce((a, b) => (b[1] > a[1] ? b : a), ["", 0]);
  return share >= CLEAR_SHARE ? kind : null;
}

export const kindName = (kind) => KINDS[kind] ?? sentence(kind).slice(0, -1);

/** The answer in one line. */
export function headline(answer) {
  if (answer.verdict === "real") return "No trace of manipulation found";
  if (answer.p_fake === null) return answer.faces.length ? "No face could be judged" : "No face found";
  if (answer.verdict === "inconclusive") return "Too close to call";
  const judged = deciding(answer);
  const flagged = judged.filter((each) => each.p_fake >= answer.model.thresholds.flag).length;
  if (judged.length > 1) return `${flagged} of ${judged.length} faces ${flagged === 1 ? "looks" : "look"} manipulated`;
  return `This face looks ${LOOKS[leadingKind(answer.kind_of_fake)] ?? "manipulated"}`;
}

/** What to make of it, in two sentences. */
export function advice(answer) {
  if (answer.verdict === "fake") return "A strong hint to follow up, not proof. Look for the source before you publish or remove anything.";
  if (answer.verdict === "real") {
    return "The detector found nothing of what it has learnt to look for. That does not prove that the file is genuine.";
  }
  return answer.p_fake === null
    ? "This detector judges faces, and nothing else. It says nothing about this file."
    : "The score lies where the detector is wrong too often to decide. Treat the file as unchecked.";
}

/** Of what the word in `evidence` is the strength. */
export const evidenceOf = (answer) => (answer.verdict === "real" ? "Evidence against a fake" : "Evidence of a fake");
