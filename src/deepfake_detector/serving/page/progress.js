// An item without an answer -> what is happening, and the button that helps.
import { bytes, percent } from "./wording.js";
import { html } from "./dom.js";
import { errorView } from "./error_view.js";
import { t } from "./messages.js";

export function progressView(item, actions) {
  if (item.state === "failed") return errorView(item, actions);
  const heading = (text) => html("h2", { id: "verdict", tabindex: -1 }, text);
  if (item.state === "cancelled") {
    return html("div", { class: "progress" }, heading(t("state.cancelled")),
      html("p", {}, t("progress.cancelled", { file: item.file.name })), html("button", { type: "button", class: "button", onclick: actions.retry }, t("progress.again")));
  }
  return html("div", { class: "progress" },
    heading(stepTitle(item)),
    html("p", { class: "progress-file" }, html("span", { translate: "no" }, item.file.name), ` · ${bytes(item.file.size)}`),
    html("div", { class: "bar" }, progressBar(item)),
    html("button", { type: "button", class: "button", onclick: actions.cancel }, t("progress.cancel")));
}

function stepTitle({ state, secondsLeft, errorStatus, uploaded, kind, job }) {
  if (state === "waiting") return t("progress.waiting");
  if (state === "retrying") return t(errorStatus === 429 ? "progress.busy" : "progress.starting", { seconds: secondsLeft });
  if (state === "uploading") return uploaded ? t("progress.uploading", { share: percent(uploaded) }) : t("state.uploading");
  if (job?.status === "queued") return job.ahead ? t("progress.job.queued", { n: job.ahead }) : t("progress.job.next");
  if (job) return t("progress.job", { share: percent(job.progress) });
  return t(kind === "video" ? "progress.video" : "progress.picture");
}

function progressBar({ state, uploaded, job }) {
  const label = t("progress.bar");
  if (state === "uploading") return html("progress", { max: 1, value: uploaded, "aria-label": label });
  if (state === "processing" && job?.status === "running") return html("progress", { max: 1, value: job.progress, "aria-label": label });
  return state === "processing" ? html("progress", { "aria-label": label }) : null;
}
