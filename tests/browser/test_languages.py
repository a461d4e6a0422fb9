"""The page in its four languages: nothing is left in English but file names and the service's own words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import deepfake_detector.serving
from tests.browser.test_access import accessibility_violations

MESSAGES = Path(deepfake_detector.serving.__file__).parent / "page" / "messages"
TITLES = {
    "en": "Is this face fake?",
    "es": "¿Es falso este rostro?",
    "fr": "Ce visage est-il faux\u202f?",
    "de": "Ist dieses Gesicht gefälscht?",
}
# Words that are the same in every language, in what the page shows of itself.
UNTRANSLATED = {"SHA", "KiB", "MiB", "JSON", "CSV", "UTC", "GMT", "und"}  # the last from the browser's lists
VISIBLE_TEXT = """() => {
  const skipped = '[translate=no], [lang=en], [lang=en] *, [translate=no] *, code, time, script, style, option, title';
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    if (!node.parentElement.closest(skipped)) found.push(node.textContent);
  }
  for (const element of document.querySelectorAll('[aria-label], [alt], [title], [aria-valuetext]')) {
    if (element.closest(skipped)) continue;
    for (const name of ['aria-label', 'alt', 'title', 'aria-valuetext']) found.push(element.getAttribute(name) ?? '');
  }
  return [document.title, ...found];
}"""


def without_letters(text: str) -> str:
    """A message whose words are Cyrillic zh, as long as the original; placeholders stay."""
    return re.sub(r"\{\w+\}|[^\W\d_]", lambda match: match[0] if match[0].startswith("{") else "ж", text)


def pseudo_messages() -> dict[str, Any]:
    messages = json.loads((MESSAGES / "de.json").read_text(encoding="utf-8"))
    return {
        key: without_letters(text)
        if isinstance(text, str)
        else {category: without_letters(each) for category, each in text.items()}
        for key, text in messages.items()
    }


def words_left(page: Any, names: list[str]) -> set[str]:
    """Latin words that the page shows although all its messages were replaced."""
    text = "\n".join(page.evaluate(VISIBLE_TEXT))
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "")
    return set(re.findall(r"[A-Za-z]{2,}", text)) - UNTRANSLATED


def open_pseudo(visit: Any, path: str = "") -> Any:
    page = visit()
    page.route("**/messages/de.json", lambda route: route.fulfill(json=pseudo_messages()))
    page.goto(f"{page.url.split('?')[0]}{path}?lang=de")
    page.locator("[lang=de]").first.wait_for()
    return page


@pytest.mark.parametrize("code", list(TITLES))
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_the_start_page_is_complete_in_each_language(visit: Any, code: str, width: int, scheme: str) -> None:
    page = visit(width=width, color_scheme=scheme, locale={"en": "en-GB", "es": "es-MX"}.get(code, code))
    page.locator("#strengths").wait_for()
    assert page.get_attribute("html", "lang") == code
    assert page.inner_text("h1") == TITLES[code]
    assert page.locator("#language").input_value() == code
    assert accessibility_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls horizontally"


def test_the_language_is_chosen_and_kept_in_the_address(visit: Any, files: dict[str, Path]) -> None:
    page = visit()
    page.set_input_files("#file", str(files["red.png"]))
    page.wait_for_selector(".verdict")
    page.select_option("#language", "fr")
    page.get_by_role("heading", name="Ce visage semble échangé").wait_for()
    assert page.url.endswith("?lang=fr")
    assert page.inner_text(".pointer b").startswith("0,9")  # numbers, too
    assert page.locator(".reasons[lang=en]").count() == 1  # the service's own words
    page.get_by_role("link", name="Comment ça marche").first.click()
    page.get_by_role("heading", name="Comment en parler").wait_for()
    assert page.get_attribute("html", "lang") == "fr"


def test_an_unknown_language_is_english(visit: Any) -> None:
    page = visit(locale="fi")
    page.locator("#strengths").wait_for()
    assert page.inner_text("h1") == TITLES["en"]


def test_no_text_of_the_page_is_outside_the_message_files(visit: Any, files: dict[str, Path]) -> None:
    page = open_pseudo(visit)
    page.locator("#strengths").wait_for()
    names = [*files, "pretrained"]
    assert words_left(page, names) == set()
    page.set_input_files("#file", [str(files[name]) for name in ("clip.webm", "two.png", "wall.png", "junk.jpg")])
    page.locator(".file.error").wait_for()
    for index in range(4):
        page.locator(".file-main").nth(index).click()
        page.locator(".verdict, .failure").wait_for()
        assert words_left(page, names) == set()


def test_no_text_of_the_explanation_is_outside_the_message_files(visit: Any) -> None:
    page = open_pseudo(visit, "how.html")
    page.locator(".meanings").wait_for()
    page.locator("#strengths-figures p").first.wait_for()
    assert words_left(page, []) == set()


@pytest.mark.parametrize("code", list(TITLES))
def test_the_explanation_is_readable_by_all(visit: Any, code: str) -> None:
    page = visit(width=360, color_scheme="dark", locale=code)
    page.goto(f"{page.url}how.html?lang={code}")
    page.locator("#strengths-figures p").first.wait_for()
    assert page.locator(".meanings tbody tr").count() == 8
    assert accessibility_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls horizontally"
