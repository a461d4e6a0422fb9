// An item without an answer -> what is happening or what went wrong, and the button that helps.
import { html, icon } from "./dom.js";
import { bytes, percent, sentence } from "./wording.js";
import { setToken } from "./api.js";

const ERROR_TITLES = { 0: "No connection", 401: "This service needs an access key", 413: "The file is too large", 408: "The upload took too long", 415: "This file cannot be read", 422: "This file was rejected", 429: "The service is busy", 503: "The service is not ready", 504: "The analysis took too long" };

export function progressView(item, { cancel, retry }) {
  if (item.state === "failed") return errorView(item, retry);
  if (item.state === "cancelled") {
    return html("div", { class: "progress" }, html("h2", { id: "verdict", tabindex: -1 }, "Cancelled"),
      html("p", {}, `${item.file.name} was not analysed.`), html("button", { type: "button", class: "button", onclick: retry }, "Analyse again"));
  }
  return html("div", { class: "progress" },
    html("h2", { id: "verdict", tabindex: -1 }, stepTitle(item)),
    html("p", { class: "progress-file" }, `${item.file.name} · ${bytes(item.file.size)}`),
    html("div", { class: "bar" }, progressBar(item)),
    html("button", { type: "button", class: "button", onclick: cancel }, "Cancel"));
}

function stepTitle({ state, secondsLeft, errorStatus, uploaded, kind }) {
  if (state === "waiting") return "Waiting for the files before it";
  if (state === "retrying") return `The service is ${errorStatus === 503 ? "starting" : "busy"}. Retrying in ${secondsLeft} s`;
  return state === "uploading" ? `Uploading${uploaded ? ` ${percent(uploaded)}` : ""}` : `Analysing the ${kind === "video" ? "video" : "picture"}`;
}

function progressBar({ state, uploaded }) {
  const label = "Progress of this file";
  if (state === "uploading") return html("progress", { max: 1, value: uploaded, "aria-label": label });
  return state === "processing" ? html("progress", { "aria-label": label }) : null;
}

function errorView({ error, file }, retry) {
  const { status, message, hint, requestId } = error;
  return html("div", { class: "progress failure error" },
    html("div", { class: "verdict-line" }, icon("error"), html("h2", { id: "verdict", tabindex: -1 }, ERROR_TITLES[status] ?? "No answer")),
    html("p", { class: "progress-file" }, file.name),
    html("p", {}, withCode(message)),
    hint && status !== 401 && html("p", { class: "hint" }, withCode(hint)),
    status === 401 && [html("p", {}, "The operator of this service can give you one."), keyForm(retry)],
    status !== 401 && html("button", { type: "button", class: "button", onclick: retry }, "Try again"),
    requestId && html("p", { class: "small" }, "Request ID ", html("code", {}, requestId)));
}

/** A message of the service as a sentence, with its `commands` in code elements. */
const withCode = (text) => sentence(text).split("`").map((part, index) => (index % 2 ? html("code", {}, part) : part));

function keyForm(retry) {
  const input = html("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const submit = (event) => {
    event.preventDefault();
    setToken(input.value);
    retry();
  };
  return html("form", { class: "key-form", onsubmit: submit }, html("label", { for: "key" }, "Access key"), input, html("button", { class: "button" }, "Use it"));
}
