"""The files of the page refer to each other and to no other address."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import deepfake_detector.serving

PAGE = Path(deepfake_detector.serving.__file__).with_name("page")
TEXT_FILES = sorted(path for path in PAGE.rglob("*") if path.suffix in {".html", ".css", ".js", ".svg"})
SCRIPTS = "".join(path.read_text(encoding="utf-8") for path in TEXT_FILES if path.suffix in {".js", ".html"})
LANGUAGES = ("en", "es", "fr", "de")
PLURALS = {"one", "other"}  # of whole numbers up to a million in these languages
# Pages that the reader may open by a link, to upload a picture there. Nothing is loaded from them or sent to them.
LINKED = ("https://images.google.com/", "https://tineye.com/", "https://www.bing.com/visualsearch")
REFERENCE = re.compile(r"""(?:href|src)="([^"#]+)|from "([^"]+)"|url\("([^"]+)"\)|href: `([^#`]+)#""")
ROUTES = {"../docs", "./"}


def relative_name(path: Path) -> str:
    return path.relative_to(PAGE).as_posix()


@pytest.mark.parametrize("path", TEXT_FILES, ids=relative_name)
def test_every_reference_is_a_file_of_the_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = {next(filter(None, match)) for match in REFERENCE.findall(text)} - ROUTES
    base = PAGE if path.suffix == ".js" else path.parent
    assert not [reference for reference in found if not (base / reference).resolve().is_relative_to(PAGE)]
    assert not [reference for reference in found if not (base / reference).is_file()]
    for allowed in ("http://www.w3.org/2000/svg", *(LINKED if path.name == "next_steps.js" else ())):
        text = text.replace(f'"{allowed}"', "")
    assert "://" not in text


def test_every_file_of_the_page_is_used() -> None:
    everything = "".join(path.read_text(encoding="utf-8") for path in TEXT_FILES)
    files = {path.name for path in PAGE.rglob("*") if path.is_file() and path.suffix != ".txt"} - {"index.html"}
    assert {file for file in files if file not in everything} == set()


def test_no_file_needs_a_looser_security_policy() -> None:
    for path in TEXT_FILES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"<style|<script(?![^>]*\bsrc=)|\sstyle=\"|\son\w+=\"|innerHTML|\beval\(|new Function", text
        ), path


def test_every_font_has_its_licence() -> None:
    for font in (PAGE / "fonts").glob("*.woff2"):
        family = font.name.split("-latin")[0]
        assert "SIL Open Font License" in (PAGE / "fonts" / f"{family}.LICENSE.txt").read_text(encoding="utf-8")


def messages(language: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAGE / "messages" / f"{language}.json").read_text(encoding="utf-8"))
    return found


def texts_of(message: str | dict[str, str]) -> list[str]:
    return [message] if isinstance(message, str) else list(message.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_missing_in_any_language(language: str) -> None:
    english, found = messages("en"), messages(language)
    assert list(found) == list(english)  # the same keys in the same order
    for key, message in found.items():
        assert all(text.strip() for text in texts_of(message)), key
        assert isinstance(message, str) or set(message) == PLURALS, key
        placeholders = {name for text in texts_of(english[key]) for name in re.findall(r"\{(\w+)\}", text)}
        for text in texts_of(message):
            used = set(re.findall(r"\{(\w+)\}", text))
            assert used == placeholders if isinstance(english[key], str) else used <= placeholders, key


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_texts_are_translated(language: str) -> None:
    english, found = messages("en"), messages(language)
    same_words = {"number.bytes"}
    same = [key for key, message in found.items() if message == english[key] and len(str(message)) > 12]
    assert set(same) <= same_words


def test_every_source_of_the_shipped_model_has_words() -> None:
    contract = json.loads((Path(__file__).parents[2] / "pretrained/contract.json").read_text(encoding="utf-8"))
    sources = contract["coverage"]["image"]["sources"]
    assert sources
    assert {f"source.{name}" for name in sources} <= set(messages("en"))


def test_every_text_is_used_and_every_key_has_a_text() -> None:
    english = messages("en")
    named = set(re.findall(r'"([a-z_]+(?:\.[a-z_0-9 ]+)+)"', SCRIPTS))
    patterns = [
        re.compile(re.sub(r"\\\$\\\{[^}]*\\\}", ".+", re.escape(each)))
        for each in re.findall(r"`([a-z_]+\.[^`]*\$\{[^`]*)`", SCRIPTS)
    ]
    optional = {"next.original.video", "next.search.video"}  # `${name}.video`
    unused = {key for key in english if key not in named and not any(each.fullmatch(key) for each in patterns)}
    assert unused <= optional | {"state.retrying"}
    files = {path.name for path in PAGE.rglob("*")}
    missing = {
        key for key in named - set(english) if key.split("/")[-1] not in files and not key.endswith((".js", ".json"))
    }
    assert missing == set()


def test_the_first_language_is_in_the_documents_themselves() -> None:
    english = messages("en")
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    for key, content in re.findall(r"""data-text="([^"]+)">([^<]*)<""", text):
        assert content == english[key]
