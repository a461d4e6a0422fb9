// A file chosen by a person -> POST /predict_image or /predict_video -> the answer, drawn.
"use strict";
const SVG = "http://www.w3.org/2000/svg";
const TITLES = { fake: "Fake, says the model", real: "No sign of a fake", inconclusive: "Inconclusive" };
const KINDS = { synthetic: "generated face", swap: "face swap" };
const CLEAR_SHARE = 2 / 3; // as in scoring/fake_kind.py
const find = (id) => document.getElementById(id);
const percent = (p) => (p === null ? "not judged" : `${(100 * p).toFixed(1)} %`);
let address = "";
let asked = 0;

function element(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function decide(p, marks) {
  if (p === null) return "inconclusive";
  if (p >= marks.flag) return "fake";
  return p <= marks.clear ? "real" : "inconclusive";
}

function kindOf(face, marks) {
  if (decide(face.p_fake, marks) !== "fake" || !face.kind_of_fake) return "";
  const [kind, share] = Object.entries(face.kind_of_fake).reduce((a, b) => (b[1] > a[1] ? b : a));
  return share >= CLEAR_SHARE ? `${KINDS[kind] ?? kind} (${percent(share)})` : "unclear";
}

async function introduce() {
  try {
    const about = await (await fetch("../about")).json();
    const drawn = about.trained_on !== "photographs";
    find("speaker").textContent = `${about.reason[0].toUpperCase()}${about.reason.slice(1)} answers; it was trained on ` +
      (drawn ? `the ${about.trained_on}, so its answers about photographs mean little.` : `${about.trained_on}.`);
    find("speaker").className = drawn ? "error" : "";
  } catch { /* the page works without; what cannot be reached says so when asked */ }
}

async function judge(file) {
  const turn = ++asked;
  find("answer").hidden = true;
  say(`Looking at ${file.name} …`);
  try {
    const answer = await ask(file, file.type.startsWith("video/") ? "video" : "image");
    if (turn !== asked) return; // another file was chosen meanwhile
    say("");
    show(file, answer);
  } catch (problem) {
    if (turn === asked) say(problem.message, "error");
  }
}

async function ask(file, field) {
  const form = new FormData();
  form.append(field, file, file.name.slice(-60));
  let response;
  try {
    response = await fetch(`../predict_${field}`, { method: "POST", body: form });
  } catch {
    throw new Error("The service cannot be reached, or it refused the file while it was being sent.");
  }
  const body = await response.json();
  if (response.ok) return body;
  throw new Error(`${body.error.message}. ${body.error.hint}`);
}

function say(text, kind = "") {
  find("status").textContent = text;
  find("status").className = kind;
}

function show(file, answer) {
  const verdict = find("verdict");
  verdict.textContent = TITLES[answer.verdict];
  verdict.className = answer.verdict;
  find("score").textContent =
    answer.p_fake === null ? "No score." : `Probability of a fake: ${percent(answer.p_fake)}; ${answer.evidence} evidence.`;
  find("reasons").replaceChildren(...answer.reasons.map((reason) => html("li", reason)));
  URL.revokeObjectURL(address);
  address = URL.createObjectURL(file);
  find("picture").hidden = answer.kind !== "image";
  find("clip").hidden = answer.kind !== "video";
  if (answer.kind === "image") showPicture(answer);
  else showClip(answer);
  rows(answer);
  const model = Object.entries(answer.model).map(([key, value]) => [key, typeof value === "object" ? JSON.stringify(value) : value]);
  find("model").replaceChildren(...model.flatMap(([key, value]) => [html("dt", key), html("dd", value)]));
  find("answer").hidden = false;
  verdict.focus();
}

function html(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function showPicture(answer) {
  const image = find("image");
  image.onload = () => {
    const size = Math.max(image.naturalWidth, image.naturalHeight) / 28;
    find("boxes").setAttribute("viewBox", `0 0 ${image.naturalWidth} ${image.naturalHeight}`);
    find("boxes").replaceChildren(...answer.faces.flatMap((face, i) => box(face, i + 1, size, answer.model.thresholds)));
  };
  image.onerror = () => find("boxes").replaceChildren(); // TIFF: judged, but browsers do not show it
  image.src = address;
}

function box(face, number, size, marks) {
  const [x, y, width, height] = face.box_px;
  const kind = decide(face.p_fake, marks);
  return [
    element("rect", { x, y, width, height, class: kind }),
    element("text", { x, y: y - size / 4, "font-size": size, class: kind }, String(number)),
  ];
}

function showClip(answer) {
  find("video").src = address;
  const [left, right, top, bottom] = [10, 590, 15, 135];
  const x = (t) => left + ((right - left) * t) / Math.max(answer.duration_s, 1e-9);
  const y = (p) => bottom - (bottom - top) * p;
  const marks = answer.model.thresholds;
  const judged = answer.timeline.filter((moment) => moment.p_fake !== null);
  const lines = [["fake", marks.flag], ["real", marks.clear]].flatMap(([kind, p]) => [
    element("line", { x1: left, x2: right, y1: y(p), y2: y(p), class: kind }),
    element("text", { x: left, y: y(p) - 3, class: kind }, `${kind} ${percent(p)}`),
  ]);
  const curve = element("polyline", { points: judged.map((m) => `${x(m.t_s)},${y(m.p_fake)}`).join(" ") });
  const end = element("text", { x: right, y: 152, "text-anchor": "end", fill: "currentColor" }, `${answer.duration_s.toFixed(1)} s`);
  const dots = judged.map((m) => dot(m, x(m.t_s), y(m.p_fake), decide(m.p_fake, marks)));
  find("timeline").replaceChildren(find("timeline-title"), ...lines, curve, end, ...dots);
}

function dot(moment, cx, cy, kind) {
  const name = `At ${moment.t_s.toFixed(1)} s: ${percent(moment.p_fake)}`;
  const made = element("circle", { cx, cy, r: 5, class: kind, tabindex: 0, role: "button", "aria-label": name });
  made.append(element("title", {}, name));
  made.onclick = () => { find("video").currentTime = moment.t_s; };
  made.onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); made.onclick(); } };
  return made;
}

function rows(answer) {
  const seen = answer.kind === "image"
    ? answer.faces.map((face) => [face.p_fake, kindOf(face, answer.model.thresholds), face.problem ?? ""])
    : answer.tracks.map((t) => [t.p_fake, kindOf(t, answer.model.thresholds), `${t.start_s.toFixed(1)} to ${t.end_s.toFixed(1)} s, judged in ${t.frames} frames${t.long ? "" : ", too few to decide"}`]);
  find("faces").hidden = seen.length === 0;
  find("faces").tBodies[0].replaceChildren(...seen.map(([p, kind, remark], i) => {
    const row = document.createElement("tr");
    row.append(html("td", String(i + 1)), html("td", percent(p)), html("td", kind), html("td", remark));
    return row;
  }));
}

introduce();
find("file").onchange = (event) => { if (event.target.files[0]) judge(event.target.files[0]); };
find("form").onsubmit = (event) => event.preventDefault();
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    find("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) judge(event.dataTransfer.files[0]);
  });
}
