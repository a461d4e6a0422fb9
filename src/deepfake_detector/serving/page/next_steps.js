// An answer -> what to do next: the original, earlier copies. The links only open pages; nothing is sent to them.
import { html } from "./dom.js";
import { t } from "./messages.js";

const SEARCH_PAGES = { "Google Images": "https://images.google.com/", TinEye: "https://tineye.com/", "Bing Visual Search": "https://www.bing.com/visualsearch" };

export function nextStepsCard(answer) {
  const key = (name) => t(answer.kind === "video" ? `${name}.video` : name);
  const links = Object.entries(SEARCH_PAGES).map(([name, href]) =>
    html("li", {}, html("a", { href, target: "_blank", rel: "noopener noreferrer", translate: "no" }, name)));
  return html("section", { class: "card next", "aria-labelledby": "next-title" },
    html("h3", { id: "next-title" }, t("next.title")),
    html("ul", { class: "reasons" }, html("li", {}, key("next.original")), html("li", {}, key("next.search"))),
    html("ul", { class: "search-pages" }, links));
}
