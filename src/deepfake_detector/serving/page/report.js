// A file and its answer -> a report as a JSON download, or the page on paper.
import { posterior, selectedPrior } from "./prior.js";
import { bytes } from "./wording.js";
import { html } from "./dom.js";

export function reportActions(item, about) {
  return html("section", { class: "report", "aria-labelledby": "report-title" },
    html("div", {}, html("h3", { id: "report-title" }, "Save this result"),
      html("p", { class: "small" }, "The report has the SHA-256 of the file, not the file.")),
    html("div", { class: "actions" },
      html("button", { type: "button", class: "button", onclick: () => download(item, about) }, "Download the report (JSON)"),
      html("button", { type: "button", class: "button", onclick: () => print(item) }, "Print, or save as PDF")),
    printedFacts(item));
}

/** Facts that only the printed page shows; the file's SHA-256 is filled in before printing. */
function printedFacts({ file, answeredAt, requestId, answer }) {
  const facts = [
    ["File", `${file.name}, ${bytes(file.size)}`], ["SHA-256", html("code", { id: "sha256" })], ["Analysed", answeredAt.toISOString()],
    ["Request ID", requestId], ["Model", html("code", {}, answer.model.sha256)],
  ].filter(([, value]) => value);
  return html("dl", { class: "facts print-only" }, facts.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));
}

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
  const blob = new Blob([JSON.stringify(await buildReport(item, about), null, 2)], { type: "application/json" });
  const link = html("a", { href: URL.createObjectURL(blob), download: `${item.file.name}.deepfake-report.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function print(item) {
  document.getElementById("sha256").textContent = (await sha256(item.file)) ?? "unknown";
  const closed = [...document.querySelectorAll("details:not([open])")];
  for (const details of closed) details.open = true;
  window.print();
  for (const details of closed) details.open = false;
}

/** Hexadecimal, or null where the browser computes no digests: on pages from another machine without https. */
async function sha256(file) {
  if (!crypto.subtle) return null;
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
