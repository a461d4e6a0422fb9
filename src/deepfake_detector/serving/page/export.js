// Items of the queue -> all their answers in one CSV or JSON file.
import { html } from "./dom.js";
import { leadingKind } from "./wording.js";
import { save, sha256 } from "./report.js";
import { t } from "./messages.js";

const COLUMNS = ["file", "bytes", "sha256", "verdict", "score", "evidence", "kind_of_fake", "faces", "reasons", "error", "answered_at", "request_id", "model"];
const BYTE_ORDER_MARK = "\ufeff"; // without it Excel takes UTF-8 for the system's old encoding

export function exportButtons(items, about) {
  const button = (name, build, type) => html("button", { type: "button", class: "button small-button", onclick: async (event) => {
    event.target.disabled = true;
    save(`${t("files.export.name")}.${name}`, await build(items(), about()), type);
    event.target.disabled = false;
  } }, t(`files.export.${name}`));
  return html("div", { class: "actions", role: "group", "aria-label": t("files.export") },
    button("csv", answersAsCsv, "text/csv"), button("json", answersAsJson, "application/json"));
}

/** A row per item; those without an answer have their error or nothing. */
export async function answersAsCsv(items) {
  const rows = [];
  for (const item of items) rows.push(csvRow(await record(item)));
  return `${BYTE_ORDER_MARK}${[COLUMNS, ...rows].map((cells) => cells.map(csvCell).join(",")).join("\r\n")}\r\n`;
}

export async function answersAsJson(items, about) {
  const answers = [];
  for (const item of items) answers.push(await record(item));
  return JSON.stringify({ saved_at: new Date().toISOString(), answers, about }, null, 2);
}

/** One after the other: a digest needs the whole file in memory. */
async function record(item) {
  const { file, state, answer = null, error, answeredAt, requestId } = item;
  return {
    file: file.name, bytes: file.size, sha256: await sha256(file).catch(() => null), state, answer,
    error: error ? { status: error.status, code: error.code, message: error.message } : null,
    answered_at: answeredAt?.toISOString() ?? null, request_id: requestId ?? error?.requestId ?? null,
  };
}

function csvRow({ file, bytes, sha256: digest, answer, error, answered_at: answeredAt, request_id: requestId }) {
  const kind = answer?.verdict === "fake" ? leadingKind(answer.kind_of_fake) : null;
  return [file, bytes, digest, answer?.verdict, answer?.p_fake, answer?.evidence, kind, answer?.faces.length, answer?.reasons.join(" | "),
    error && (error.message || error.code), answeredAt, requestId, answer?.model.sha256];
}

/** A quoted cell. Spreadsheets run what begins with = + - @: such text gets an apostrophe (OWASP, CSV injection). */
export function csvCell(value) {
  const text = String(value ?? "");
  const guarded = typeof value === "string" && /^[\s\u0000-\u001f]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/.test(text) ? `'${text}` : text;
  return `"${guarded.replaceAll('"', '""')}"`;
}
