// Entry point: files go into the queue; the item on show is rendered as progress, error or answer.
import { modelFacts, modelLine, trainingDataWarning } from "./model.js";
import { preferredLanguage, setLanguage, t } from "./messages.js";
import { coverageLine, reasonsCard, verdictHeader } from "./verdict.js";
import { reportActions, reportHead } from "./report.js";
import { FileList, stateLabel } from "./file_list.js";
import { Queue } from "./queue.js";
import { acceptFiles } from "./upload.js";
import { bestFramesSection } from "./best_frames.js";
import { credentialsCard } from "./credentials.js";
import { facesSection } from "./faces.js";
import { fetchAbout } from "./api.js";
import { html } from "./dom.js";
import { imageView } from "./image_view.js";
import { languageMenu } from "./language_menu.js";
import { metadataCard } from "./metadata.js";
import { nextStepsCard } from "./next_steps.js";
import { priorCard } from "./prior.js";
import { progressView } from "./progress.js";
import { strengths } from "./coverage.js";
import { timelineSection } from "./timeline.js";
import { videoView } from "./video_view.js";

const byId = (id) => document.getElementById(id);
const IN_PROGRESS = ["waiting", "uploading", "processing", "retrying"];
const aboutReady = fetchAbout();
const queue = new Queue(() => aboutReady.then((about) => about.jobs, () => null));
let current = null; // the item on show
let rendered = ""; // which state of it is on show: an answer is rendered only once
let model = null;
let modelError = null;

const languageReady = setLanguage(preferredLanguage());
// Before the language is there: a file that is chosen at once must not be lost.
acceptFiles({ input: byId("file"), button: byId("choose"), dropArea: byId("upload"), onFiles: (files) => languageReady.then(() => show(queue.add(files))) });
await languageReady;
const fileList = new FileList(byId("files"), { onShow: show, onRemove: remove, about: () => model });
languageMenu(byId("language"), renderAll);
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

const renderList = () => fileList.render(queue.items, current);

function remove(item) {
  queue.remove(item);
  show(item === current ? (queue.items[0] ?? null) : current);
}

/** Everything again: the language or the model's description has changed. */
function renderAll() {
  renderModel();
  rendered = "";
  renderList();
  render();
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
  else if (changed) container.replaceChildren(progressView(current, actions(current)));
  else updateProgress(container);
  if (changed && (hadFocus || document.activeElement === document.body)) byId("verdict").focus({ preventScroll: current.state !== "answered" });
}

const actions = (item) => ({ cancel: () => queue.cancel(item), retry: () => queue.retry(item), chooseAnother: () => byId("choose").click() });

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
    reportHead(item),
    verdictHeader(item, model),
    html("div", { class: "answer-grid" },
      html("div", { class: "answer-main" }, isVideo ? video.figure : imageView(item), timeline?.section, isVideo && bestFramesSection(answer, timeline.seek), facesSection(answer)),
      html("div", { class: "answer-side" }, reasonsCard(answer), nextStepsCard(answer), priorCard(answer), metadataView(item), credentialsCard(answer))),
    reportActions(item, () => model),
  ];
}

/** The metadata card, which replaces itself once the reader has asked for the location. */
function metadataView(item) {
  const card = metadataCard(item, async () => {
    await queue.askLocation(item).catch(() => {});
    card.replaceWith(metadataView(item));
  });
  return card;
}

async function loadModel() {
  try {
    model = await aboutReady;
  } catch (error) {
    modelError = error;
  }
  renderModel();
  if (current?.state === "answered") addCoverage();
}

/** The model's description came after the answer on show, which stays as it is: a reader may be clicking in it. */
function addCoverage() {
  const line = coverageLine(current.answer, model);
  if (line) byId("answer").querySelector(".verdict-advice").after(line);
}

function renderModel() {
  if (!model) {
    if (modelError) byId("model-line").textContent = t("page.model.unknown");
    return;
  }
  byId("model-line").textContent = modelLine(model);
  byId("model-facts").replaceChildren(modelFacts(model));
  byId("strengths-figures").replaceChildren(...strengths(model));
  byId("strengths").hidden = false;
  byId("warning").replaceChildren(...[trainingDataWarning(model)].filter(Boolean));
}

function announce(text) {
  byId("announcer").textContent = text;
}
