// A choice of languages in the page's header -> the page in that language; the choice is in the address, stored nowhere.
import { currentLanguage, LANGUAGES, setLanguage } from "./messages.js";
import { html } from "./dom.js";

export function languageMenu(select, onChange) {
  select.replaceChildren(...Object.entries(LANGUAGES).map(([code, name]) =>
    html("option", { value: code, lang: code, selected: code === currentLanguage(), translate: "no" }, name)));
  select.addEventListener("change", async () => {
    await setLanguage(select.value);
    keepInAddresses(select.value);
    onChange();
  });
  if (new URLSearchParams(location.search).has("lang")) keepInAddresses(currentLanguage());
}

/** Put the language into the address of this page and into its links to the other page. */
function keepInAddresses(code) {
  const address = new URL(location.href);
  address.searchParams.set("lang", code);
  history.replaceState(null, "", address);
  for (const link of document.querySelectorAll("[data-keeps-language]")) link.search = address.search;
}
