// An answered file -> a report to keep: JSON for programs and archives, or the page itself on paper.
import { posterior, prior } from "./prior.js";
import { bytes } from "./words.js";
import { html } from "./dom.js";

export function reportActions(item, about) {
  return html("section", { class: "report", "aria-labelledby": "report-title" },
    html("div", {}, html("h3", { id: "report-title" }, "Keep this answer"),
      html("p", { class: "small" }, "The report holds the file's fingerprint (SHA-256), not the file.")),
    html("div", { class: "actions" },
      html("button", { type: "button", class: "button", onclick: () => download(item, about) }, "Download the report (JSON)"),
      html("button", { type: "button", class: "button", onclick: () => print(item) }, "Print, or save as PDF")),
    paperTrail(item));
}

/** What only paper shows: which file this was, and when. The fingerprint is filled in before printing. */
function paperTrail({ file, askedAt, requestId, answer }) {
  const facts = [
    ["File", `${file.name}, ${bytes(file.size)}`], ["SHA-256", html("code", { id: "fingerprint" })], ["Asked", askedAt.toISOString()],
    ["Request", requestId], ["Model", html("code", {}, answer.model.sha256)],
  ].filter(([, value]) => value);
  return html("dl", { class: "facts paper" }, facts.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));
}

export async function reportOf(item, about) {
  const { file, answer, askedAt, requestId, tookS } = item;
  const p = answer.p_fake;
  return {
    file: { name: file.name, bytes: file.size, type: file.type, last_modified: new Date(file.lastModified).toISOString(), sha256: await sha256(file) },
    asked_at: askedAt.toISOString(),
    took_s: Number(tookS.toFixed(3)),
    request_id: requestId,
    posterior: p === null ? null : { prior: prior(), p_fake: posterior(p, prior()) },
    answer,
    about,
  };
}

async function download(item, about) {
  const blob = new Blob([JSON.stringify(await reportOf(item, about), null, 2)], { type: "application/json" });
  const link = html("a", { href: URL.createObjectURL(blob), download: `${item.file.name}.deepfake-report.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function print(item) {
  document.getElementById("fingerprint").textContent = (await sha256(item.file)) ?? "unknown";
  const shut = [...document.querySelectorAll("details:not([open])")];
  for (const details of shut) details.open = true;
  window.print();
  for (const details of shut) details.open = false;
}

/** Hexadecimal, or null where the browser does no digests: on pages from another machine without https. */
async function sha256(file) {
  if (!crypto.subtle) return null;
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
