// The page's parts, put together: files go into the queue, its items come out as progress and answers.
import { drawnWarning, modelFacts, modelLine } from "./model.js";
import { facesOf } from "./faces.js";
import { fileRow, wordsOf } from "./files.js";
import { about } from "./api.js";
import { bestFramesOf } from "./best_frames.js";
import { credentialsCard } from "./credentials.js";
import { html } from "./dom.js";
import { intake } from "./intake.js";
import { pictureOf } from "./picture.js";
import { playerOf } from "./player.js";
import { priorCard } from "./prior.js";
import { progressOf } from "./progress.js";
import { Queue } from "./queue.js";
import { reasonsOf, verdictOf } from "./verdict.js";
import { reportActions } from "./report.js";
import { timelineOf } from "./timeline.js";

const find = (id) => document.getElementById(id);
const queue = new Queue();
const UNDER_WAY = ["waiting", "sending", "judging", "held"];
let shown = null; // the item on show
let drawn = ""; // what of it is on show, so that nothing is drawn anew under a reader's hands
let model = null;

intake({ input: find("file"), button: find("choose"), zone: find("zone"), onFiles: (files) => show(queue.add(files)) });
queue.addEventListener("change", ({ detail: item }) => {
  list();
  if (item && item === shown) draw();
});
queue.addEventListener("answer", ({ detail: item }) => announce(`${item.file.name}: ${wordsOf(item)}`));
introduce();

function show(item) {
  shown = item;
  drawn = "";
  document.body.classList.toggle("started", queue.items.length > 0);
  list();
  draw();
  find("verdict")?.focus();
}

function list() {
  const several = queue.items.length > 1;
  find("files").hidden = !several;
  if (!several) return;
  const rows = queue.items.map((item) => fileRow(item, { shown: item === shown, onShow: () => show(item), onRemove: () => remove(item) }));
  const focused = [...find("file-list").querySelectorAll("button")].indexOf(document.activeElement);
  find("file-list").replaceChildren(...rows);
  if (focused >= 0) find("file-list").querySelectorAll("button")[focused]?.focus();
}

function remove(item) {
  queue.remove(item);
  show(item === shown ? (queue.items[0] ?? null) : shown);
}

/** Draw the item on show; its answer only once. */
function draw() {
  const place = find("answer");
  const state = shown && `${shown.id} ${UNDER_WAY.includes(shown.state) ? "under way" : shown.state}`;
  place.hidden = !shown;
  if (!shown || (shown.state === "answered" && state === drawn)) return;
  const held = place.contains(document.activeElement);
  const fresh = state !== drawn;
  drawn = state;
  if (shown.state === "answered") place.replaceChildren(...answerOf(shown));
  else if (fresh) place.replaceChildren(progressOf(shown, { cancel: () => queue.cancel(shown), again: () => queue.again(shown) }));
  else refresh(place);
  if (fresh && (held || document.activeElement === document.body)) find("verdict").focus({ preventScroll: shown.state !== "answered" });
}

/** Change the words and the bar of an item that is still under way; its button stays where a hand may be. */
function refresh(place) {
  const now = progressOf(shown, {});
  for (const part of ["h2", ".bar"]) place.querySelector(part).replaceChildren(...now.querySelector(part).childNodes);
}

function answerOf(item) {
  const { answer } = item;
  const video = answer.kind === "video";
  const player = video ? playerOf(item) : null;
  const timeline = video ? timelineOf(answer, player) : null;
  return [
    verdictOf(item),
    html("div", { class: "answer-grid" },
      html("div", { class: "answer-main" }, video ? player.figure : pictureOf(item), timeline?.section, video && bestFramesOf(answer, timeline.go), facesOf(answer)),
      html("div", { class: "answer-side" }, reasonsOf(answer), priorCard(answer), credentialsCard(answer))),
    reportActions(item, model),
  ];
}

async function introduce() {
  try {
    model = await about();
    find("model-line").textContent = modelLine(model);
    find("model-facts").replaceChildren(modelFacts(model));
    find("warning").replaceChildren(...[drawnWarning(model)].filter(Boolean));
  } catch (error) {
    find("model-line").textContent = `Unknown: ${error.message}`;
  }
}

function announce(text) {
  find("announcer").textContent = text;
}
