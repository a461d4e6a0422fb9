// Items of the queue -> a list of files with their states; choosing one shows it.
import { headline } from "./wording.js";
import { hiddenText, html, icon } from "./dom.js";

const STATES = { waiting: "Waiting", uploading: "Uploading", processing: "Analysing", retrying: "The service is busy", failed: "No answer", cancelled: "Cancelled" };

export function fileRow(item, { current, onShow, onRemove }) {
  const status = statusOf(item);
  return html("li", { class: `file ${status}` },
    html("button", { type: "button", class: "file-main", "aria-current": current ? "true" : null, onclick: onShow },
      thumbnail(item),
      html("span", { class: "file-words" }, html("span", { class: "file-name" }, item.file.name), hiddenText(": "),
        html("span", { class: "file-state" }, icon(status), stateLabel(item)))),
    html("button", { type: "button", class: "file-remove", "aria-label": `Remove ${item.file.name} from the list`, title: "Remove", onclick: onRemove }, icon("unscored")));
}

function thumbnail({ file, address }) {
  if (!file.type.startsWith("image/")) return html("span", { class: "thumb" }, icon("video"));
  const image = html("img", { class: "thumb", src: address, alt: "", loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(html("span", { class: "thumb" })));
  return image;
}

/** Name of the icon and the colour of an item. */
function statusOf({ state, answer }) {
  if (state === "answered") return answer.p_fake === null ? "unscored" : answer.verdict;
  return state === "failed" ? "error" : "waiting";
}

export const stateLabel = (item) => (item.state === "answered" ? headline(item.answer) : STATES[item.state]);
