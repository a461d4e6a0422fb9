// Entry point of how.html: texts in the reader's language, and the figures of the model that is served now.
import { preferredLanguage, setLanguage, t } from "./messages.js";
import { fetchAbout } from "./api.js";
import { html } from "./dom.js";
import { languageMenu } from "./language_menu.js";
import { strengths } from "./coverage.js";

// Row of the table -> the text of its first column.
const MEANINGS = {
  fake: "decision.fake", real: "decision.real", inconclusive: "decision.inconclusive", no_face: "verdict.no_face", unscored: "decision.unscored",
  heatmap: "how.table.heatmap", credentials: "how.table.credentials", metadata: "how.table.metadata",
};
let about = null;

await setLanguage(preferredLanguage());
languageMenu(document.getElementById("language"), render);
about = await fetchAbout().catch(() => null);
render();

function render() {
  document.getElementById("meanings").replaceChildren(table());
  document.getElementById("strengths-figures").replaceChildren(...(about ? strengths(about) : [t("strengths.unknown")]));
}

function table() {
  const columns = ["see", "means", "do"].map((name) => t(`how.table.${name}`));
  return html("table", { class: "meanings" },
    html("thead", {}, html("tr", {}, columns.map((name) => html("th", { scope: "col" }, name)))),
    html("tbody", {}, Object.entries(MEANINGS).map(([row, seen]) => html("tr", {},
      html("th", { scope: "row" }, t(seen)),
      html("td", { "data-column": columns[1] }, t(`how.table.${row}.means`)),
      html("td", { "data-column": columns[2] }, t(`how.table.${row}.do`))))));
}
