// An answered clip -> scores over time with the model's marks, a lane for each face, and a playhead that seeks.
//
// One stop for the keyboard: a slider whose steps are the judged moments. The table says the same in words.
import { called, clock, decide, score } from "./words.js";
import { html, spoken, svg } from "./dom.js";
import { lanes } from "./lanes.js";
import { placed } from "./scale.js";

export function timelineOf(answer, player) {
  const length_s = Math.max(answer.duration_s, ...answer.timeline.map((moment) => moment.t_s), 0.001);
  const at = (t_s) => t_s / length_s;
  const plot = html("div", { class: "plot", role: "slider", tabindex: 0, "aria-label": "Moment of the video", "aria-valuemin": 0, "aria-valuemax": length_s.toFixed(1) },
    zones(answer.model.thresholds), curve(answer, at), answer.timeline.map((moment) => dot(moment, at, answer.model.thresholds)));
  const readout = html("p", { class: "readout", role: "status" });
  const strips = html("div", { class: "strips" },
    html("div", { class: "strip-row" }, markNames(answer.model.thresholds), plot),
    lanes(answer, at), axis(length_s));
  const playhead = html("div", { class: "playhead" });
  strips.append(html("div", { class: "playhead-rail", "aria-hidden": "true" }, playhead));

  let now_s = 0;
  function show(t_s) {
    now_s = Math.min(Math.max(t_s, 0), length_s);
    placed(playhead, { left: at(now_s) });
    const words = say(nearest(answer.timeline, now_s), now_s, answer.model.thresholds);
    plot.setAttribute("aria-valuenow", now_s.toFixed(1));
    plot.setAttribute("aria-valuetext", words);
    return words;
  }
  function go(t_s) {
    readout.textContent = show(t_s);
    player.seek(now_s);
  }
  player.video.addEventListener("timeupdate", () => { if (!player.video.paused) readout.textContent = show(player.video.currentTime); });
  strips.addEventListener("click", (event) => {
    const { left, width } = plot.getBoundingClientRect();
    if (event.clientX >= left) go(snapped(answer.timeline, ((event.clientX - left) / width) * length_s, length_s));
  });
  plot.addEventListener("keydown", (event) => {
    const t_s = next(event.key, answer.timeline, now_s);
    if (t_s === null) return;
    event.preventDefault();
    go(t_s);
  });
  go(answer.best_frames?.[0]?.t_s ?? answer.timeline[0]?.t_s ?? 0); // the strongest moment is what people want to see first
  return { go, section: html("section", { class: "timeline", "aria-labelledby": "timeline-title" },
    html("h3", { id: "timeline-title" }, "Scores over time"),
    html("p", { class: "small screen" }, "Click anywhere, or use the arrow keys, to see a moment."),
    strips, key(), readout, table(answer, go)) };
}

/** The judged moment nearest to a second, or null. */
function nearest(timeline, t_s) {
  return timeline.reduce((best, each) => (!best || Math.abs(each.t_s - t_s) < Math.abs(best.t_s - t_s) ? each : best), null);
}

/** A click close to a judged moment means that moment: only there boxes are known. */
function snapped(timeline, t_s, length_s) {
  const near = nearest(timeline, t_s);
  return near && Math.abs(near.t_s - t_s) < 0.02 * length_s ? near.t_s : t_s;
}

function next(key, timeline, now_s) {
  const times = timeline.map((moment) => moment.t_s);
  if (!times.length) return null;
  if (key === "Home") return times[0];
  if (key === "End") return times.at(-1);
  if (key === "ArrowRight" || key === "ArrowUp") return times.find((t_s) => t_s > now_s + 0.01) ?? times.at(-1);
  if (key === "ArrowLeft" || key === "ArrowDown") return times.findLast((t_s) => t_s < now_s - 0.01) ?? times[0];
  return null;
}

function say(moment, now_s, marks) {
  if (!moment) return clock(now_s);
  const when = Math.abs(moment.t_s - now_s) < 0.05 ? clock(now_s) : `${clock(now_s)}, nearest judged frame ${clock(moment.t_s)}`;
  if (!moment.faces) return `${when}: no face`;
  return `${when}: score ${score(moment.p_fake)}, ${called[decide(moment.p_fake, marks)]}${moment.faces > 1 ? `; ${moment.faces} faces` : ""}`;
}

function zones({ clear, flag }) {
  const low = Math.min(clear, flag);
  return [
    placed(html("span", { class: "band fake" }), { top: 0, height: 1 - flag }),
    placed(html("span", { class: "band real" }), { top: 1 - low, height: low }),
  ];
}

/** Beside the plot: from where a score is called what. */
function markNames({ clear, flag }) {
  return html("div", { class: "mark-names", "aria-hidden": "true" },
    placed(html("span", { class: "fake" }, "fake"), { top: 1 - flag }), placed(html("span", { class: "real" }, "no trace"), { top: 1 - Math.min(clear, flag) }));
}

/** What the marks on plot and lanes mean. */
function key() {
  return html("p", { class: "key", "aria-hidden": "true" }, ["fake", "inconclusive", "real"].map((name) => html("span", {}, html("i", { class: `dot ${name}` }), called[name])));
}

function curve(answer, at) {
  const points = answer.timeline.filter((m) => m.p_fake !== null).map((m) => `${1000 * at(m.t_s)},${100 * (1 - m.p_fake)}`);
  const cuts = (answer.shots ?? []).slice(1).map(({ start_s }) => svg("line", { class: "cut", x1: 1000 * at(start_s), x2: 1000 * at(start_s), y1: 0, y2: 100 }));
  return svg("svg", { class: "curve", viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" }, cuts, svg("polyline", { points: points.join(" ") }));
}

function dot(moment, at, marks) {
  if (moment.p_fake === null) return null;
  return placed(html("span", { class: `dot ${decide(moment.p_fake, marks)}` }), { left: at(moment.t_s), top: 1 - moment.p_fake });
}

function axis(length_s) {
  const shares = [0, 0.25, 0.5, 0.75, 1];
  return html("div", { class: "strip-row axis", "aria-hidden": "true" }, html("span"), html("div", { class: "ticks" },
    shares.map((share) => placed(html("span", {}, clock(share * length_s)), { left: share }))));
}

function table(answer, go) {
  const marks = answer.model.thresholds;
  return html("details", { class: "as-table" }, html("summary", {}, "The same as a table"),
    html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Judged moments" }, html("table", {},
      html("thead", {}, html("tr", {}, ["Moment", "Highest score", "That means", "Faces"].map((name) => html("th", { scope: "col" }, name)))),
      html("tbody", {}, answer.timeline.map((moment) => html("tr", {},
        html("td", {}, html("button", { type: "button", class: "link", onclick: () => go(moment.t_s) }, spoken("Show "), clock(moment.t_s))),
        html("td", {}, moment.faces ? score(moment.p_fake) : ""),
        html("td", {}, moment.faces ? called[decide(moment.p_fake, marks)] : "no face"),
        html("td", {}, String(moment.faces))))))));
}
