"""The HTML report holds the results, needs no other file, and copes with missing parts."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from deepfake_detector.evaluation.report import summary_sentences, write_html_report
from deepfake_detector.evaluation.results import EvaluationResults
from deepfake_detector.evaluation.robustness_metrics import draw_robustness
from deepfake_detector.model.bundle import Bundle, Contract
from tests.evaluation.known_case import Case

VOID = {"meta", "img", "br", "link"}


class Reader(HTMLParser):
    """Collects the tags and text of a page; fails when tags are not closed in order."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(file.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def write(folder: Path, contract: Contract, results: EvaluationResults) -> Path:
    return write_html_report(folder, Bundle(folder, contract, "ab" * 32), results)


@pytest.fixture(scope="module")
def page(case: Case, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reader]:
    folder = tmp_path_factory.mktemp("page")
    draw_robustness(folder / "robustness.png", case.results.grid)
    file = write(folder, case.contract, case.results)
    return file, Reader(file)


def test_the_page_needs_no_other_file(page: tuple[Path, Reader]) -> None:
    file, reader = page
    text = file.read_text(encoding="utf-8")
    assert "://" not in text
    assert re.findall(r"(?:src|href)=.//", text) == []
    assert "url(" not in text
    assert all(tag not in ("script", "link", "iframe") for tag, _ in reader.tags)
    images = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert len(images) == 1  # the one figure that was drawn
    assert (images[0]["src"] or "").startswith("data:image/png;base64,")
    assert images[0].get("alt")


def test_the_page_holds_the_results(case: Case, page: tuple[Path, Reader]) -> None:
    text = " ".join(page[1].text.split())
    assert f"{case.results.test.accuracy.value:.3f}" in text
    assert "JPEG 30" in text
    assert "failed" in text
    assert "for research only" in text
    assert "(small sample)" in text
    for sentence in summary_sentences(case.results):
        assert sentence.replace("`", "") in text


def test_links_inside_the_page_have_targets(page: tuple[Path, Reader]) -> None:
    ids = {attributes.get("id") for _, attributes in page[1].tags}
    links = [attributes["href"] for tag, attributes in page[1].tags if tag == "a"]
    assert links
    assert all(link is not None and link[1:] in ids for link in links)


def test_a_network_without_a_heatmap_says_so(case: Case, tmp_path: Path) -> None:
    results = replace(case.results, faithfulness=None, terms={}, probes=())
    reader = Reader(write(tmp_path, case.contract, results))
    assert "has no heatmap" in reader.text
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_names_from_outside_cannot_become_markup(case: Case, tmp_path: Path) -> None:
    results = replace(case.results, terms={"swaps": "<script>alert(1)</script>"})
    reader = Reader(write(tmp_path, case.contract, results))
    assert all(tag != "script" for tag, _ in reader.tags)


def test_the_summary_follows_the_numbers(case: Case) -> None:
    summary = " ".join(summary_sentences(case.results))
    assert "It is not robust to corruption" in summary
    assert "under the worst corruption (JPEG 30)" in summary
    assert "failed: recompression" in summary
    assert "targets are missed" in summary
    kept = tuple(each for each in case.results.grid.conditions if each.condition != "JPEG 30")
    good = replace(case.results, probes=(), targets=(), grid=replace(case.results.grid, conditions=kept))
    summary = " ".join(summary_sentences(good))
    assert "0 of 0 shortcut probes passed." in summary
    assert "All 0 targets are met" in summary
    assert "It is robust to corruption" in summary
