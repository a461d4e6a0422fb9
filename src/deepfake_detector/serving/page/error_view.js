// An item that failed -> what went wrong, what helps, and the button for it. The page has its own words for known errors.
import { html, icon } from "./dom.js";
import { isText, t } from "./messages.js";
import { sentence } from "./wording.js";
import { setToken } from "./api.js";

const TITLES = { 0: "lost", 401: "key", 408: "slow", 413: "large", 415: "unreadable", 422: "rejected", 429: "busy", 503: "starting", 504: "timeout", 507: "busy" };
const RETRY = [0, 408, 429, 500, 502, 503, 504, 507]; // with these statuses the same file may be answered later

export const errorTitle = ({ status }) => t(`error.title.${TITLES[status] ?? "other"}`);

export function errorView({ error, file }, { retry, chooseAnother }) {
  const { status, requestId } = error;
  return html("div", { class: "progress failure error" },
    html("div", { class: "verdict-line" }, icon("error"), html("h2", { id: "verdict", tabindex: -1 }, errorTitle(error))),
    html("p", { class: "progress-file", translate: "no" }, file.name),
    explanation(error),
    status === 401 && keyForm(retry),
    status !== 401 && (RETRY.includes(status)
      ? html("button", { type: "button", class: "button", onclick: retry }, t("error.retry"))
      : html("button", { type: "button", class: "button", onclick: chooseAnother }, t("error.another"))),
    requestId && html("p", { class: "small" }, t("error.request"), html("code", { translate: "no" }, requestId)));
}

/** Known codes have a text of the page, because the service's hints are for programmers; its message is shown below. */
function explanation({ status, code, message, hint }) {
  const key = `error.${code}`;
  if (status === 401) return html("p", {}, t("error.key.ask"));
  if (code === "unknown") return html("p", {}, t("error.status", { status: String(status) }));
  const said = message && html("p", { class: "small" }, t("error.says"), html("span", { lang: "en" }, withCode(message)));
  if (isText(key)) return [html("p", { class: "hint" }, t(key)), said];
  return [said, hint && html("p", { class: "hint", lang: "en" }, withCode(hint))];
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
  return html("form", { class: "key-form", onsubmit: submit }, html("label", { for: "key" }, t("error.key")), input, html("button", { class: "button" }, t("error.key.use")));
}
