from __future__ import annotations

import re
from pathlib import Path

import pytest

import deepfake_detector.serving

PAGE = Path(deepfake_detector.serving.__file__).with_name("page")
TEXTS = sorted(path for path in PAGE.rglob("*") if path.suffix in {".html", ".css", ".js", ".svg"})
REFERENCE = re.compile(r"""(?:href|src)="([^"#]+)|from "([^"]+)"|url\("([^"]+)"\)|href: `([^#`]+)#""")
ROUTES = {"../docs", "./"}


def name(path: Path) -> str:
    return path.relative_to(PAGE).as_posix()


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_what_the_page_names_is_a_file_of_its_own(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = {next(filter(None, match)) for match in REFERENCE.findall(text)} - ROUTES
    base = PAGE if path.suffix == ".js" else path.parent
    assert not [reference for reference in found if not (base / reference).resolve().is_relative_to(PAGE)]
    assert not [reference for reference in found if not (base / reference).is_file()]
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


def test_every_file_of_the_page_is_named_somewhere() -> None:
    everything = "".join(path.read_text(encoding="utf-8") for path in TEXTS)
    files = {path.name for path in PAGE.rglob("*") if path.is_file() and path.suffix != ".txt"} - {"index.html"}
    assert {file for file in files if file not in everything} == set()


def test_nothing_in_the_page_needs_a_loose_security_policy() -> None:
    for path in TEXTS:
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"<style|<script(?![^>]*\bsrc=)|\sstyle=\"|\son\w+=\"|innerHTML|\beval\(|new Function", text
        ), path


def test_fonts_travel_with_their_licence() -> None:
    for font in (PAGE / "fonts").glob("*.woff2"):
        family = font.name.split("-latin")[0]
        assert "SIL Open Font License" in (PAGE / "fonts" / f"{family}.LICENSE.txt").read_text(encoding="utf-8")
