// A video's answer -> its scores over time with the thresholds, a row for each track, and a cursor that seeks.
//
// The plot is one slider for the keyboard; its steps are the scored frames. The table has the same content.
import { clock, DECISION_LABELS, decisionOf, score } from "./wording.js";
import { hiddenText, html, placeAt, svg } from "./dom.js";
import { trackRows } from "./tracks.js";

export function timelineSection(answer, player) {
  const { thresholds } = answer.model;
  const length_s = Math.max(answer.duration_s, ...answer.timeline.map((frame) => frame.t_s), 0.001);
  const shareOf = (t_s) => t_s / length_s;
  const plot = html("div", { class: "plot", role: "slider", tabindex: 0, "aria-label": "Moment of the video", "aria-valuemin": 0, "aria-valuemax": length_s.toFixed(1) },
    thresholdBands(thresholds), curve(answer, shareOf), answer.timeline.map((frame) => dot(frame, shareOf, thresholds)));
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
    html("h3", { id: "timeline-title" }, "Scores over time"),
    html("p", { class: "small screen-only" }, "Click, or use the arrow keys, to go to a frame."),
    strips, legend(), readout, table(answer, seek)) };
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
  const time = Math.abs(frame.t_s - now_s) < 0.05 ? clock(now_s) : `${clock(now_s)}, nearest scored frame ${clock(frame.t_s)}`;
  if (!frame.faces) return `${time}: no face`;
  return `${time}: score ${score(frame.p_fake)}, ${DECISION_LABELS[decisionOf(frame.p_fake, thresholds)]}${frame.faces > 1 ? `; ${frame.faces} faces` : ""}`;
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
    placeAt(html("span", { class: "fake" }, "fake"), { top: 1 - flag }), placeAt(html("span", { class: "real" }, "no trace"), { top: 1 - Math.min(clear, flag) }));
}

/** The meaning of the dots in the plot and in the track rows. */
function legend() {
  return html("p", { class: "chart-legend", "aria-hidden": "true" }, ["fake", "inconclusive", "real"].map((name) => html("span", {}, html("i", { class: `dot ${name}` }), DECISION_LABELS[name])));
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
  const { thresholds } = answer.model;
  return html("details", { class: "as-table" }, html("summary", {}, "Show as a table"),
    html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Scored frames" }, html("table", {},
      html("thead", {}, html("tr", {}, ["Time", "Highest score", "Meaning", "Faces"].map((name) => html("th", { scope: "col" }, name)))),
      html("tbody", {}, answer.timeline.map((frame) => html("tr", {},
        html("td", {}, html("button", { type: "button", class: "link", onclick: () => seek(frame.t_s) }, hiddenText("Show "), clock(frame.t_s))),
        html("td", {}, frame.faces ? score(frame.p_fake) : ""),
        html("td", {}, frame.faces ? DECISION_LABELS[decisionOf(frame.p_fake, thresholds)] : "no face"),
        html("td", {}, String(frame.faces))))))));
}
