"""The page says what was found, stands alone, and works where things are missing."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from deepfake_detector.evaluation.report import verdict, write_page
from deepfake_detector.evaluation.robustness import draw_robustness
from deepfake_detector.model.bundle import Bundle

VOID = {"meta", "img", "br", "link"}


class Reader(HTMLParser):
    """Collects what a page holds; raises when tags are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(case, tmp_path_factory) -> tuple[Path, Reader]:
    folder = tmp_path_factory.mktemp("page")
    draw_robustness(folder / "robustness.png", case.found.grid)
    file = write_page(folder, Bundle(folder, case.contract, "ab" * 32), case.found)
    return file, read(file)


def read(file: Path) -> Reader:
    reader = Reader()
    reader.feed(file.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def test_it_stands_alone(page) -> None:
    file, reader = page
    text = file.read_text(encoding="utf-8")
    assert "://" not in text
    assert re.findall(r"(?:src|href)=.//", text) == []
    assert "url(" not in text
    assert all(tag not in ("script", "link", "iframe") for tag, _ in reader.seen)
    sources = [attributes["src"] for tag, attributes in reader.seen if tag == "img"]
    assert len(sources) == 1  # the one figure that was drawn
    assert sources[0].startswith("data:image/png;base64,")
    assert all(attributes.get("alt") for tag, attributes in reader.seen if tag == "img")


def test_it_says_what_was_found(case, page) -> None:
    text = " ".join(page[1].text.split())
    assert f"{case.found.test.accuracy.value:.3f}" in text
    assert "JPEG 30" in text
    assert "alarm" in text
    assert "for research only" in text
    assert "tiny: says little" in text
    for sentence in verdict(case.found):
        assert sentence.replace("`", "") in text


def test_links_inside_lead_somewhere(page) -> None:
    places = {attributes.get("id") for _, attributes in page[1].seen}
    links = [attributes["href"] for tag, attributes in page[1].seen if tag == "a"]
    assert links
    assert all(link is not None and link[1:] in places for link in links)


def test_a_network_without_a_heatmap_says_so(case, tmp_path) -> None:
    found = replace(case.found, explanation=None, terms={}, probes=())
    reader = read(write_page(tmp_path, Bundle(tmp_path, case.contract, "ab" * 32), found))
    assert "draws no map" in reader.text
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_names_from_outside_cannot_become_markup(case, tmp_path) -> None:
    found = replace(case.found, terms={"swaps": "<script>alert(1)</script>"})
    reader = read(write_page(tmp_path, Bundle(tmp_path, case.contract, "ab" * 32), found))
    assert all(tag != "script" for tag, _ in reader.seen)


def test_words_follow_the_numbers(case) -> None:
    told = " ".join(verdict(case.found))
    assert "does not stand up to wear" in told
    assert "at its worst (JPEG 30)" in told
    assert "saved again" in told
    assert "goals are missed" in told
    kept = [outcome for outcome in case.found.grid.outcomes if outcome.condition != "JPEG 30"]
    sound = replace(case.found, probes=(), goals=(), grid=replace(case.found.grid, outcomes=tuple(kept)))
    told = " ".join(verdict(sound))
    assert "no alarm" in told
    assert "All 0 goals are met" in told
    assert "It stands up to wear" in told
