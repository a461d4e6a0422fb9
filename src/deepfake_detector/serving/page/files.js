// The queue's items -> a list of files with their states; choosing one shows it.
import { bytes, headline } from "./words.js";
import { html, icon, spoken } from "./dom.js";

const STATES = { waiting: "Waiting", sending: "Sending", judging: "Judging", held: "The service is busy", failed: "No answer", cancelled: "Cancelled" };

export function fileRow(item, { shown, onShow, onRemove }) {
  const mark = markOf(item);
  return html("li", { class: `file ${mark}` },
    html("button", { type: "button", class: "file-main", "aria-current": shown ? "true" : null, onclick: onShow },
      thumbnail(item),
      html("span", { class: "file-words" }, html("span", { class: "file-name" }, item.file.name), spoken(": "),
        html("span", { class: "file-state" }, icon(mark), wordsOf(item)))),
    html("button", { type: "button", class: "file-remove", "aria-label": `Remove ${item.file.name} from the list`, title: "Remove", onclick: onRemove }, icon("unjudged")));
}

function thumbnail({ file, address }) {
  if (!file.type.startsWith("image/")) return html("span", { class: "thumb" }, icon("video"));
  const image = html("img", { class: "thumb", src: address, alt: "", loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(html("span", { class: "thumb" })));
  return image;
}

/** The icon and colour of a state. */
function markOf({ state, answer }) {
  if (state === "answered") return answer.p_fake === null ? "unjudged" : answer.verdict;
  return state === "failed" ? "error" : "waiting";
}

export const wordsOf = (item) => (item.state === "answered" ? headline(item.answer) : STATES[item.state]);
export const sizeOf = ({ file }) => bytes(file.size);
