// A video's answer -> its scores over time with the thresholds, a row for each track, and a cursor that seeks.
//
// The plot is one slider for the keyboard; its steps are the scored frames. The table has the same content.
import { clock, decisionLabel, decisionOf, faceCount, score } from "./wording.js";
import { hiddenText, html, placeAt, svg } from "./dom.js";
import { number, t } from "./messages.js";
import { trackRows } from "./tracks.js";

export function timelineSection(answer, player) {
  const { thresholds } = answer.model; // of frames
  const length_s = Math.max(answer.duration_s, ...answer.timeline.map((frame) => frame.t_s), 0.001);
  const shareOf = (t_s) => t_s / length_s;
  const plot = html("div", { class: "plot", role: "slider", tabindex: 0, "aria-label": t("timeline.moment"), "aria-valuemin": 0, "aria-valuemax": length_s.toFixed(1) },
    thresholdBands(thresholds), clipLine(answer), curve(answer, shareOf), answer.timeline.map((frame) => dot(frame, shareOf, thresholds)));
  const readout = html("p", { class: "readout", role: "status" });
  const strips = html("div", { class: "strips" },
    html("div", { class: "strip-row" }, thresholdNames(thresholds), plot),
    trackRows(answer, shareOf), axis(length_s));
  const cursor = html("div", { class: "cursor" });
  strips.append(html("div", { class: "cursor-rail", "aria-hidden": "true" }, cursor));

  let now_s = 0;
  function moveCursor(t_s) {
    now_s = Math.min(Math.max(t_s, 0), length_s);
    placeAt(cursor, { left: shareOf(now_s) });
    const text = describe(nearestFrame(answer.timeline, now_s), now_s, thresholds);
    plot.setAttribute("aria-valuenow", now_s.toFixed(1));
    plot.setAttribute("aria-valuetext", text);
    return text;
  }
  function seek(t_s) {
    readout.textContent = moveCursor(t_s);
    player.seek(now_s);
  }
  player.video.addEventListener("timeupdate", () => { if (!player.video.paused) readout.textContent = moveCursor(player.video.currentTime); });
  strips.addEventListener("click", (event) => {
    const { left, width } = plot.getBoundingClientRect();
    if (event.clientX >= left) seek(snap(answer.timeline, ((event.clientX - left) / width) * length_s, length_s));
  });
  plot.addEventListener("keydown", (event) => {
    const t_s = timeAfterKey(event.key, answer.timeline, now_s);
    if (t_s === null) return;
    event.preventDefault();
    seek(t_s);
  });
  seek(answer.best_frames?.[0]?.t_s ?? answer.timeline[0]?.t_s ?? 0); // begin at the strongest evidence
  return { seek, section: html("section", { class: "timeline", "aria-labelledby": "timeline-title" },
    html("h3", { id: "timeline-title" }, t("timeline.title")),
    html("p", { class: "small screen-only" }, t("timeline.hint")),
    strips, legend(answer), readout, table(answer, seek)) };
}

/** The scored frame nearest to a time, or null. */
function nearestFrame(timeline, t_s) {
  return timeline.reduce((best, frame) => (!best || Math.abs(frame.t_s - t_s) < Math.abs(best.t_s - t_s) ? frame : best), null);
}

/** Move a click near a scored frame to that frame: boxes exist only there. */
function snap(timeline, t_s, length_s) {
  const frame = nearestFrame(timeline, t_s);
  return frame && Math.abs(frame.t_s - t_s) < 0.02 * length_s ? frame.t_s : t_s;
}

function timeAfterKey(key, timeline, now_s) {
  const times = timeline.map((frame) => frame.t_s);
  if (!times.length) return null;
  if (key === "Home") return times[0];
  if (key === "End") return times.at(-1);
  if (key === "ArrowRight" || key === "ArrowUp") return times.find((t_s) => t_s > now_s + 0.01) ?? times.at(-1);
  if (key === "ArrowLeft" || key === "ArrowDown") return times.findLast((t_s) => t_s < now_s - 0.01) ?? times[0];
  return null;
}

function describe(frame, now_s, thresholds) {
  if (!frame) return clock(now_s);
  const time = Math.abs(frame.t_s - now_s) < 0.05 ? clock(now_s) : t("timeline.nearest", { now: clock(now_s), time: clock(frame.t_s) });
  if (!frame.faces) return t("timeline.no_face", { time });
  const text = t("timeline.score", { time, score: score(frame.p_fake), decision: decisionLabel(decisionOf(frame.p_fake, thresholds)) });
  return frame.faces > 1 ? `${text}; ${faceCount(frame.faces)}` : text;
}

function thresholdBands({ clear, flag }) {
  const low = Math.min(clear, flag);
  return [
    placeAt(html("span", { class: "band fake" }), { top: 0, height: 1 - flag }),
    placeAt(html("span", { class: "band real" }), { top: 1 - low, height: low }),
  ];
}

/** Labels beside the plot, at the height of the thresholds. */
function thresholdNames({ clear, flag }) {
  return html("div", { class: "threshold-names", "aria-hidden": "true" },
    placeAt(html("span", { class: "fake" }, t("timeline.fake")), { top: 1 - flag }), placeAt(html("span", { class: "real" }, t("timeline.real")), { top: 1 - Math.min(clear, flag) }));
}

/** The score of the whole clip, as a line across the scores of its frames. */
function clipLine({ p_fake: p, verdict }) {
  return p === null ? null : placeAt(html("span", { class: `clip-line ${verdict}` }), { top: 1 - p });
}

/** The meaning of the dots in the plot and in the track rows, and of the clip's line. */
function legend({ p_fake: p, verdict }) {
  const dots = ["fake", "inconclusive", "real"].map((name) => html("span", {}, html("i", { class: `dot ${name}` }), decisionLabel(name)));
  const line = p !== null && html("span", {}, html("i", { class: `clip-line ${verdict}` }), t("timeline.clip", { score: score(p) }));
  return html("p", { class: "chart-legend", "aria-hidden": "true" }, dots, line);
}

function curve(answer, shareOf) {
  const points = answer.timeline.filter((frame) => frame.p_fake !== null).map((frame) => `${1000 * shareOf(frame.t_s)},${100 * (1 - frame.p_fake)}`);
  const cuts = (answer.shots ?? []).slice(1).map(({ start_s }) => svg("line", { class: "cut", x1: 1000 * shareOf(start_s), x2: 1000 * shareOf(start_s), y1: 0, y2: 100 }));
  return svg("svg", { class: "curve", viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" }, cuts, svg("polyline", { points: points.join(" ") }));
}

function dot(frame, shareOf, thresholds) {
  if (frame.p_fake === null) return null;
  return placeAt(html("span", { class: `dot ${decisionOf(frame.p_fake, thresholds)}` }), { left: shareOf(frame.t_s), top: 1 - frame.p_fake });
}

function axis(length_s) {
  const shares = [0, 0.25, 0.5, 0.75, 1];
  return html("div", { class: "strip-row axis", "aria-hidden": "true" }, html("span"), html("div", { class: "ticks" },
    shares.map((share) => placeAt(html("span", {}, clock(share * length_s)), { left: share }))));
}

function table(answer, seek) {
  const { thresholds } = answer.model; // of frames
  return html("details", { class: "as-table" }, html("summary", {}, t("timeline.table")),
    html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("timeline.frames") }, html("table", {},
      html("thead", {}, html("tr", {}, ["time", "score", "meaning", "faces"].map((name) => html("th", { scope: "col" }, t(`timeline.column.${name}`))))),
      html("tbody", {}, answer.timeline.map((frame) => html("tr", {},
        html("td", {}, html("button", { type: "button", class: "link", onclick: () => seek(frame.t_s) }, hiddenText(t("timeline.show")), clock(frame.t_s))),
        html("td", {}, frame.faces ? score(frame.p_fake) : ""),
        html("td", {}, frame.faces ? decisionLabel(decisionOf(frame.p_fake, thresholds)) : t("decision.no_face")),
        html("td", {}, number(frame.faces))))))));
}
