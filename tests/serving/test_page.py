"""The files of the page refer to each other and to no other address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import deepfake_detector.serving

PAGE = Path(deepfake_detector.serving.__file__).with_name("page")
TEXT_FILES = sorted(path for path in PAGE.rglob("*") if path.suffix in {".html", ".css", ".js", ".svg"})
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
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


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
