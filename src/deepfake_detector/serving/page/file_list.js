// Items of the queue -> their tally, order, and one row each with state and reason; choosing a row shows its item.
import { currentLanguage, t } from "./messages.js";
import { headline, score, sentence, statusOf } from "./wording.js";
import { hiddenText, html, icon } from "./dom.js";
import { errorTitle } from "./error_view.js";
import { exportButtons } from "./export.js";

const SHOWN_ROWS = 9; // so that a hundred files do not push the answer off the screen
const RANK = { fake: 4, inconclusive: 3, real: 2, unscored: 1 };
const order = { bySuspicion: false, all: false }; // kept as long as the page is open

export const stateLabel = (item) => (item.state === "answered" ? headline(item.answer) : t(`state.${item.state}`));

/** Name of the icon and the colour of an item; also its column in the tally. */
function statusOfItem({ state, answer }) {
  if (state === "answered") return statusOf(answer);
  return state === "failed" || state === "cancelled" ? "failed" : "waiting";
}

/** The list in `section`; `render` draws it again, keeping the rows that have not changed and with them the focus. */
export class FileList {
  #rows = new Map(); // item -> { signature, row }

  constructor(section, { onShow, onRemove, about }) {
    Object.assign(this, { section, onShow, onRemove, about, items: [], current: null });
    this.list = section.querySelector("ul");
    this.tools = section.querySelector(".files-tools");
    this.more = section.querySelector(".files-more");
  }

  render(items, current) {
    Object.assign(this, { items, current });
    for (const item of this.#rows.keys()) if (!items.includes(item)) this.#rows.delete(item);
    this.section.hidden = items.length < 2;
    if (this.section.hidden) return;
    const ordered = order.bySuspicion ? [...items].sort(bySuspicion) : items;
    const visible = order.all ? ordered : ordered.filter((item, index) => index < SHOWN_ROWS || item === current);
    replaceIfChanged(this.list, visible.map((item) => this.#row(item)));
    this.#renderTools();
    const rest = items.length > SHOWN_ROWS;
    const toggle = () => { order.all = !order.all; this.render(this.items, this.current); };
    update(this.more, `${currentLanguage()} ${order.all} ${rest && items.length}`, () =>
      rest && html("button", { type: "button", class: "link", onclick: toggle }, order.all ? t("files.fewer") : t("files.all", { n: items.length })));
  }

  #row(item) {
    const signature = [currentLanguage(), item.state, item === this.current, Boolean(item.answer)].join();
    const kept = this.#rows.get(item);
    if (kept?.signature === signature) return kept.row;
    const row = fileRow(item, item === this.current, { show: () => this.onShow(item), remove: () => this.onRemove(item) });
    const focused = [...(kept?.row.querySelectorAll("button") ?? [])].indexOf(document.activeElement);
    kept?.row.replaceWith(row);
    if (focused >= 0) row.querySelectorAll("button")[focused].focus();
    this.#rows.set(item, { signature, row });
    return row;
  }

  #renderTools() {
    const counts = Object.entries(Object.groupBy(this.items, statusOfItem)).map(([status, group]) => [status, group.length]);
    const answered = this.items.some((item) => item.state === "answered");
    update(this.tools, `${currentLanguage()} ${counts.join()}`, () => [
      html("p", { class: "tally" }, html("b", {}, t("files.count", { n: this.items.length })), ": ",
        Object.keys({ ...RANK, failed: 0, waiting: 0 }).flatMap((status) => counts.filter(([name]) => name === status)).map(([status, n], index) =>
          [index > 0 && ", ", html("span", { class: `tally-${status}` }, t(`files.tally.${status}`, { n }))])),
      html("div", { class: "files-actions" }, this.#orderMenu(), answered && exportButtons(() => this.items, this.about)),
    ]);
  }

  #orderMenu() {
    const select = html("select", { id: "files-order", onchange: () => { order.bySuspicion = select.value === "suspicion"; this.render(this.items, this.current); } },
      ["added", "suspicion"].map((value) => html("option", { value, selected: (value === "suspicion") === order.bySuspicion }, t(`files.sort.${value}`))));
    return html("label", { for: "files-order" }, t("files.sort"), " ", select);
  }
}

/** Fakes before inconclusive files before those without a trace, each by score; then files without an answer. */
function bySuspicion(one, other) {
  const rank = (item) => (RANK[item.answer && statusOf(item.answer)] ?? 0) + (item.answer?.p_fake ?? 0) / 2;
  return rank(other) - rank(one) || one.id - other.id;
}

function fileRow(item, current, { show, remove }) {
  const status = statusOfItem(item);
  const { name } = item.file;
  return html("li", { class: `file ${status === "failed" ? "error" : status}` },
    html("button", { type: "button", class: "file-main", "aria-current": current ? "true" : null, onclick: show },
      thumbnail(item),
      html("span", { class: "file-words" }, html("span", { class: "file-name", translate: "no" }, name), hiddenText(": "),
        html("span", { class: "file-state" }, icon(status === "failed" ? "error" : status), stateLabel(item)), reason(item))),
    html("button", { type: "button", class: "file-remove", "aria-label": t("files.remove.file", { file: name }), title: t("files.remove"), onclick: remove }, icon("unscored")));
}

/** Why an item has its state, in a few words. */
function reason({ state, answer, error }) {
  const text = (content, language) => html("span", { class: "file-reason", lang: language }, content);
  if (state === "failed") return text(errorTitle(error));
  if (state !== "answered") return null;
  if (answer.p_fake !== null) return text(t("files.score", { score: score(answer.p_fake) }));
  const problem = answer.faces.find((face) => face.problem)?.problem;
  return problem ? text(sentence(problem), "en") : null;
}

function thumbnail({ file, address }) {
  if (!file.type.startsWith("image/")) return html("span", { class: "thumb" }, icon("video"));
  const image = html("img", { class: "thumb", src: address, alt: "", loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(html("span", { class: "thumb" })));
  return image;
}

/** Place children in order; children that stay keep their focus. */
function replaceIfChanged(parent, children) {
  if (children.length === parent.children.length && children.every((child, index) => child === parent.children[index])) return;
  const focused = document.activeElement;
  parent.replaceChildren(...children);
  if (parent.contains(focused)) focused.focus();
}

/** Fill an element again only when its signature has changed. */
function update(element, signature, build) {
  if (element.dataset.signature === signature) return;
  const focused = [...element.querySelectorAll("button, select")].indexOf(document.activeElement);
  element.dataset.signature = signature;
  element.replaceChildren(...[build()].flat(Infinity).filter(Boolean));
  if (focused >= 0) element.querySelectorAll("button, select")[focused]?.focus();
}
