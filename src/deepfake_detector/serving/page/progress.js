// An item that waits, is under way, failed or was cancelled -> what is happening, and what can be done about it.
import { html, icon } from "./dom.js";
import { bytes, percent, sentence } from "./words.js";
import { setToken } from "./api.js";

const TITLES = { 0: "No connection", 401: "This service wants an access key", 413: "The file is too large", 408: "It took too long to send", 415: "This file cannot be read", 422: "This file was refused", 429: "The service is full", 503: "The service is not ready", 504: "It took too long to judge" };

export function progressOf(item, { cancel, again }) {
  if (item.state === "failed") return failure(item, again);
  if (item.state === "cancelled") {
    return html("div", { class: "progress" }, html("h2", { id: "verdict", tabindex: -1 }, "Cancelled"),
      html("p", {}, `${item.file.name} was not judged.`), html("button", { type: "button", class: "button", onclick: again }, "Ask again"));
  }
  return html("div", { class: "progress" },
    html("h2", { id: "verdict", tabindex: -1 }, doing(item)),
    html("p", { class: "progress-file" }, `${item.file.name} · ${bytes(item.file.size)}`),
    html("div", { class: "bar" }, bar(item)),
    html("button", { type: "button", class: "button", onclick: cancel }, "Cancel"));
}

function doing({ state, left, busy, sent, kind }) {
  if (state === "waiting") return "Waiting for its turn";
  if (state === "held") return `The service is ${busy === 503 ? "starting" : "full"}. Asking again in ${left} s`;
  return state === "sending" ? `Sending${sent ? ` ${percent(sent)}` : ""}` : `Looking for faces in the ${kind === "video" ? "video" : "picture"}`;
}

function bar({ state, sent }) {
  const label = "Progress of this file";
  if (state === "sending") return html("progress", { max: 1, value: sent, "aria-label": label });
  return state === "judging" ? html("progress", { "aria-label": label }) : null;
}

function failure({ error, file }, again) {
  const { status, message, hint, requestId } = error;
  return html("div", { class: "progress failure error" },
    html("div", { class: "verdict-line" }, icon("error"), html("h2", { id: "verdict", tabindex: -1 }, TITLES[status] ?? "No answer")),
    html("p", { class: "progress-file" }, file.name),
    html("p", {}, prose(message)),
    hint && status !== 401 && html("p", { class: "hint" }, prose(hint)),
    status === 401 && [html("p", {}, "Whoever runs this service has it."), keyForm(again)],
    status !== 401 && html("button", { type: "button", class: "button", onclick: again }, "Try again"),
    requestId && html("p", { class: "small" }, "Request ", html("code", {}, requestId)));
}

/** A sentence of the service, with its `commands` set as such. */
const prose = (text) => sentence(text).split("`").map((part, place) => (place % 2 ? html("code", {}, part) : part));

function keyForm(again) {
  const input = html("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const send = (event) => {
    event.preventDefault();
    setToken(input.value);
    again();
  };
  return html("form", { class: "key", onsubmit: send }, html("label", { for: "key" }, "Access key"), input, html("button", { class: "button" }, "Use it"));
}
