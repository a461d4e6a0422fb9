// Entry point: files go into the queue; the item on show is rendered as progress, error or answer.
import { modelFacts, modelLine, trainingDataWarning } from "./model.js";
import { facesSection } from "./faces.js";
import { fileRow, stateLabel } from "./file_list.js";
import { fetchAbout } from "./api.js";
import { bestFramesSection } from "./best_frames.js";
import { credentialsCard } from "./credentials.js";
import { html } from "./dom.js";
import { acceptFiles } from "./upload.js";
import { imageView } from "./image_view.js";
import { videoView } from "./video_view.js";
import { priorCard } from "./prior.js";
import { progressView } from "./progress.js";
import { Queue } from "./queue.js";
import { reasonsCard, verdictHeader } from "./verdict.js";
import { reportActions } from "./report.js";
import { timelineSection } from "./timeline.js";

const byId = (id) => document.getElementById(id);
const queue = new Queue();
const IN_PROGRESS = ["waiting", "uploading", "processing", "retrying"];
let current = null; // the item on show
let rendered = ""; // which state of it is on show: an answer is rendered only once
let model = null;

acceptFiles({ input: byId("file"), button: byId("choose"), dropArea: byId("upload"), onFiles: (files) => show(queue.add(files)) });
queue.addEventListener("change", ({ detail: item }) => {
  renderList();
  if (item && item === current) render();
});
queue.addEventListener("answer", ({ detail: item }) => announce(`${item.file.name}: ${stateLabel(item)}`));
loadModel();

function show(item) {
  current = item;
  rendered = "";
  document.body.classList.toggle("started", queue.items.length > 0);
  renderList();
  render();
  byId("verdict")?.focus();
}

function renderList() {
  const several = queue.items.length > 1;
  byId("files").hidden = !several;
  if (!several) return;
  const rows = queue.items.map((item) => fileRow(item, { current: item === current, onShow: () => show(item), onRemove: () => remove(item) }));
  const focused = [...byId("file-list").querySelectorAll("button")].indexOf(document.activeElement);
  byId("file-list").replaceChildren(...rows);
  if (focused >= 0) byId("file-list").querySelectorAll("button")[focused]?.focus();
}

function remove(item) {
  queue.remove(item);
  show(item === current ? (queue.items[0] ?? null) : current);
}

function render() {
  const container = byId("answer");
  const state = current && `${current.id} ${IN_PROGRESS.includes(current.state) ? "in progress" : current.state}`;
  container.hidden = !current;
  if (!current || (current.state === "answered" && state === rendered)) return;
  const hadFocus = container.contains(document.activeElement);
  const changed = state !== rendered;
  rendered = state;
  if (current.state === "answered") container.replaceChildren(...answerView(current));
  else if (changed) container.replaceChildren(progressView(current, { cancel: () => queue.cancel(current), retry: () => queue.retry(current) }));
  else updateProgress(container);
  if (changed && (hadFocus || document.activeElement === document.body)) byId("verdict").focus({ preventScroll: current.state !== "answered" });
}

/** Replace the heading and the bar of an item in progress; its button stays, and with it the focus. */
function updateProgress(container) {
  const updated = progressView(current, {});
  for (const part of ["h2", ".bar"]) container.querySelector(part).replaceChildren(...updated.querySelector(part).childNodes);
}

function answerView(item) {
  const { answer } = item;
  const isVideo = answer.kind === "video";
  const video = isVideo ? videoView(item) : null;
  const timeline = isVideo ? timelineSection(answer, video) : null;
  return [
    verdictHeader(item),
    html("div", { class: "answer-grid" },
      html("div", { class: "answer-main" }, isVideo ? video.figure : imageView(item), timeline?.section, isVideo && bestFramesSection(answer, timeline.seek), facesSection(answer)),
      html("div", { class: "answer-side" }, reasonsCard(answer), priorCard(answer), credentialsCard(answer))),
    reportActions(item, model),
  ];
}

async function loadModel() {
  try {
    model = await fetchAbout();
    byId("model-line").textContent = modelLine(model);
    byId("model-facts").replaceChildren(modelFacts(model));
    byId("warning").replaceChildren(...[trainingDataWarning(model)].filter(Boolean));
  } catch (error) {
    byId("model-line").textContent = `Unknown: ${error.message}`;
  }
}

function announce(text) {
  byId("announcer").textContent = text;
}
