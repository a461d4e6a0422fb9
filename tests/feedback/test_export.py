"""Accepted pictures become two labelled sources; copies of the data, contradictions and a loud reporter stay out."""

from __future__ import annotations

import csv
import io
import json
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from deepfake_detector.config import Download, Sample, Source
from deepfake_detector.datasets.archive import KAGGLE_ROOT, Archive
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.sources import fetch
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.errors import BadInput
from deepfake_detector.feedback.export import (
    ExportRules,
    FeedbackExport,
    PresentData,
    plan_export,
    source_entries,
    write_export,
)
from deepfake_detector.feedback.review import Review
from deepfake_detector.feedback.store import Label
from deepfake_detector.media.image import decode_image, encode_jpeg, encode_png
from deepfake_detector.validation.manifest import build_manifest

if TYPE_CHECKING:
    from tests.feedback.conftest import Folder

LIMIT = 2**30
RULES = ExportRules(max_reporter_share=1.0)


def drawn(number: int, label: str = "real", seed: int = 77) -> bytes:
    return encode_png(decode_image(draw_sample(seed, "train", label, number)))


def copy_of(picture: bytes, quality: int = 60) -> bytes:
    return encode_jpeg(decode_image(picture), quality)


@dataclass(frozen=True)
class Data:
    present: PresentData
    pictures: dict[str, bytes]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """A source of nine drawn pictures: three splits, real ones."""
    raw = tmp_path_factory.mktemp("raw")
    names = [
        f"{split}/{label}/{i}.png" for split in ("train", "valid", "test") for label in ("real", "fake") for i in (0, 1)
    ]
    pictures = {name: drawn(number, seed=5) for number, name in enumerate(names)}
    write_zip(raw / "faces.zip", ((f"{KAGGLE_ROOT}/{name}", data) for name, data in pictures.items()))
    return Data(PresentData(build_manifest(raw, {}, LIMIT), raw), pictures)


def accepted(folder: Folder, reports: Sequence[tuple[bytes, str, Label]]) -> Review:
    for picture, reporter, label in reports:
        folder.add(picture, reporter, label)
    review = Review([folder.path])
    for case in review.cases:
        review.accept(case, None, "me")
    return Review([folder.path])


def plan(review: Review, data: Data, rules: ExportRules = RULES) -> tuple[FeedbackExport, dict[str, Path]]:
    files = {case.case: file for case in review.cases if (file := review.picture_file(case)) is not None}
    return plan_export(files, review.cases, data.present, rules), files


def codes(export: FeedbackExport) -> list[str]:
    return sorted(each.code for each in export.left_out)


def test_copies_of_held_out_pictures_and_contradictions_are_left_out(folder: Folder, data: Data) -> None:
    near_test, near_valid = (copy_of(data.pictures[f"{split}/real/0.png"]) for split in ("test", "valid"))
    near_train, other_label = copy_of(data.pictures["train/real/0.png"]), copy_of(data.pictures["train/real/1.png"])
    new = drawn(0)
    reports: list[tuple[bytes, str, Label]] = [
        (data.pictures["test/fake/0.png"], "anna", "fake"), (near_test, "anna", "real"), (near_valid, "anna", "real"),
        (near_train, "anna", "real"), (other_label, "anna", "fake"), (b"\x89PNG\r\n\x1a\n junk", "anna", "real"),
        (new, "anna", "real"),
    ]  # fmt: skip
    export, _ = plan(accepted(folder, reports), data)
    held_out = ["near_held_out"] * 3
    assert codes(export) == sorted([*held_out, "contradicts_data", "known", "unreadable"])
    assert [each.label for each in (*export.train, *export.held_out)] == ["real"]
    assert any("test/real/0.png, a test picture" in each.text for each in export.left_out)


def test_near_copies_share_a_group_and_contradict_each_other(folder: Folder, data: Data) -> None:
    first, second, third = drawn(1), drawn(2), drawn(3)
    reports: list[tuple[bytes, str, Label]] = [
        (first, "anna", "real"), (copy_of(first), "ben", "real"), (copy_of(first, 40), "ben", "real"),
        (second, "anna", "real"), (copy_of(second), "ben", "fake"), (third, "anna", "fake"),
    ]  # fmt: skip
    export, _ = plan(accepted(folder, reports), data)
    assert codes(export) == ["contradicts_feedback"] * 2
    sides = {each.group: side for side in ("train", "held_out") for each in getattr(export, side)}
    groups = [each.group for each in (*export.train, *export.held_out)]
    assert sorted(map(groups.count, set(groups))) == [1, 3]
    for each in export.train:
        assert sides[each.group] == "train"


def test_what_nobody_accepted_or_what_expired_is_not_exported(folder: Folder, data: Data) -> None:
    review = accepted(folder, [(drawn(4), "anna", "real")])
    folder.add(drawn(5), "ben", "real")
    folder.add(drawn(4), "ben", "fake")  # a conflict after the decision
    export, _ = plan(Review([folder.path]), data)
    assert (export.train, export.held_out, export.left_out) == ((), (), ())
    export, _ = plan_export({}, review.cases, data.present, RULES), None
    assert codes(export) == ["expired"]


def test_a_label_of_the_reviewer_alone_counts_for_the_first_reporter(folder: Folder, data: Data) -> None:
    folder.add(drawn(30), "anna", "fake")
    folder.add(drawn(31), "ben", "real")
    review = Review([folder.path])
    for case in review.cases:
        review.accept(case, "real", "me")
    export, _ = plan(Review([folder.path]), data, ExportRules(max_reporter_share=0.5))
    assert export.left_out == ()
    assert sorted(each.reporters for each in (*export.train, *export.held_out)) == [(), ("ben",)]


def test_one_reporter_cannot_give_most_of_an_export(folder: Folder, data: Data) -> None:
    reports: list[tuple[bytes, str, Label]] = [(drawn(i), "loud", "real") for i in range(6, 11)]
    review = accepted(folder, [*reports, (drawn(11), "ben", "real"), (drawn(12), "carl", "real")])
    export, files = plan(review, data, ExportRules(max_reporter_share=0.5))
    counts = [each.reporters[0] for each in (*export.train, *export.held_out)]
    assert sorted(counts) == ["ben", "carl", "loud", "loud"]
    assert codes(export) == ["reporter_share"] * 3
    alone = FeedbackExport((), (), export.left_out)
    with pytest.raises(BadInput, match="more than 50% of the pictures"):
        write_export(alone, files, folder.path / "out.zip", RULES)


def test_the_zips_are_labelled_sources_whose_splits_stay(folder: Folder, data: Data, tmp_path: Path) -> None:
    reports: list[tuple[bytes, str, Label]] = [(drawn(i), "anna", "real") for i in range(13, 21)]
    review = accepted(folder, [*reports, *((drawn(i, "fake"), "ben", "fake") for i in range(4))])
    rules = ExportRules(held_out_share=0.5, max_reporter_share=1.0)
    export, files = plan(review, data, rules)
    written = write_export(export, files, tmp_path / "out" / "feedback.zip", rules)
    assert list(written) == ["feedback", "feedback_held_out"]
    assert stat.S_IMODE(written["feedback"].stat().st_mode) == 0o600
    first = {name: path.read_bytes() for name, path in written.items()}
    again = write_export(export, files, tmp_path / "out" / "feedback.zip", rules)
    assert {name: path.read_bytes() for name, path in again.items()} == first

    sample = Sample(seed=1, train=4, valid=4, test=4)
    uses: tuple[tuple[str, Literal["train", "test"], str], ...] = (
        ("feedback", "train", "train"), ("feedback_held_out", "test", "test")
    )  # fmt: skip
    for name, use, split in uses:
        source = Source(
            name=name, kind="labelled", fake_kind="synthetic", location=str(written[name]), use=use, feedback=True
        )
        settings = Download((Source(name="faces", kind="sample", fake_kind="synthetic"), source), 0.1, 1.0, sample)
        fetched = fetch(source, settings, tmp_path / f"{name}.zip")
        pictures = getattr(export, "train" if use == "train" else "held_out")
        assert sum(fetched.counts[split].values()) == len(pictures) > 0
        with Archive(tmp_path / f"{name}.zip", LIMIT) as archive:
            assert {entry.split for entry in archive.entries} == {split}
            assert {entry.group for entry in archive.entries} == {each.group for each in pictures}
            assert {archive.read(entry) for entry in archive.entries} == {
                files[p.sha256].read_bytes() for p in pictures
            }
    record = json.loads((tmp_path / "out" / "feedback.json").read_text())
    assert {row["accepted_by"] for row in record["train"]} == {"me"}
    assert set(record["sources"]) == set(written)
    with zipfile.ZipFile(written["feedback"]) as file:
        rows = list(csv.DictReader(io.StringIO(file.read("labels.csv").decode())))
    assert {row["label_str"] for row in rows} <= {"real", "fake"}
    assert "feedback: true" in source_entries(written, "swap", rules)


def test_an_older_export_of_the_same_name_is_not_compared_with(folder: Folder, data: Data, tmp_path: Path) -> None:
    review = accepted(folder, [(drawn(i), "anna", "real") for i in range(21, 25)])
    export, files = plan(review, data)
    for picture in data.present.archives.glob("*.zip"):
        (tmp_path / picture.name).symlink_to(picture)
    pictures = {f"{KAGGLE_ROOT}/test/real/{name}.png": path.read_bytes() for name, path in files.items()}
    others = {f"{KAGGLE_ROOT}/{split}/real/a.png": drawn(40 + i) for i, split in enumerate(("train", "valid"))}
    write_zip(tmp_path / "feedback_held_out.zip", [*pictures.items(), *others.items()])
    later = Data(PresentData(build_manifest(tmp_path, {}, LIMIT), tmp_path), {})
    assert plan(review, later)[0] == export
    renamed, _ = plan(review, later, ExportRules(name="new", max_reporter_share=1.0))
    assert codes(renamed) == ["near_held_out"] * 4
