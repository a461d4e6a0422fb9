// A file and its answer -> a report as a JSON download, or the page on paper.
import { posterior, selectedPrior } from "./prior.js";
import { bytes } from "./wording.js";
import { currentLanguage, t } from "./messages.js";
import { factList } from "./facts.js";
import { html } from "./dom.js";

/** Buttons for a file's report; `about()` is the model's description, or null as long as it is not known. */
export function reportActions(item, about) {
  return html("section", { class: "report", "aria-labelledby": "report-title" },
    html("div", {}, html("h3", { id: "report-title" }, t("report.title")),
      html("p", { class: "small" }, t("report.note"))),
    html("div", { class: "actions" },
      html("button", { type: "button", class: "button", onclick: () => download(item, about()) }, t("report.json")),
      html("button", { type: "button", class: "button", onclick: () => print(item) }, t("report.print"))));
}

/** The head of the printed page; the file's SHA-256 is filled in before printing. */
export function reportHead({ file, answeredAt, requestId, answer }) {
  const code = (text, id) => html("code", { translate: "no", id }, text);
  return html("div", { class: "print-only report-head" },
    html("p", { class: "report-heading" }, t("report.heading")),
    factList([
      [t("report.file"), [html("span", { translate: "no" }, file.name), `, ${bytes(file.size)}`]],
      ["SHA-256", code("", "sha256")],
      [t("report.analysed"), html("time", { datetime: answeredAt.toISOString() }, moment(answeredAt))],
      [t("report.model"), code(answer.model.sha256)],
      [t("report.request"), requestId && code(requestId)],
    ]),
    html("p", { class: "small" }, t("report.caution")));
}

const moment = (date) => new Intl.DateTimeFormat(currentLanguage(), { dateStyle: "long", timeStyle: "long" }).format(date);

export async function buildReport(item, about) {
  const { file, answer, answeredAt, requestId, tookS } = item;
  const p = answer.p_fake;
  return {
    file: { name: file.name, bytes: file.size, type: file.type, last_modified: new Date(file.lastModified).toISOString(), sha256: await sha256(file) },
    answered_at: answeredAt.toISOString(),
    took_s: Number(tookS.toFixed(3)),
    request_id: requestId,
    posterior: p === null ? null : { prior: selectedPrior(), p_fake: posterior(p, selectedPrior()) },
    answer,
    about,
  };
}

async function download(item, about) {
  save(`${item.file.name}.deepfake-report.json`, JSON.stringify(await buildReport(item, about), null, 2), "application/json");
}

/** Let the browser save a text under a name. */
export function save(name, text, type) {
  const link = html("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function print(item) {
  document.getElementById("sha256").textContent = (await sha256(item.file)) ?? t("report.unknown");
  const closed = [...document.querySelectorAll("details:not([open])")];
  for (const details of closed) details.open = true;
  window.print();
  for (const details of closed) details.open = false;
}

/** Hexadecimal, or null where the browser computes no digests: on pages from another machine without https. */
export async function sha256(file) {
  if (!crypto.subtle) return null;
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
