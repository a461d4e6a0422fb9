"""Planted shortcuts fail their own probe; pictures without one, or too few pictures, fail none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.config import read_settings
from deepfake_detector.datasets.archive import KAGGLE_ROOT
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.media import corruptions
from deepfake_detector.media.image import encode_png
from deepfake_detector.validation.leak_probes import (
    LeakProbe,
    metadata_features,
    probe_leaks,
    probe_textures,
    sample_images,
)

SETTINGS = read_settings(Path(__file__).parents[2] / "params.yaml").validate
LIMIT = 2**30
KINDS = ("metadata", "thumbnail", "border", "centre")
Paint = Callable[[np.ndarray, int, np.random.Generator], None]


def nothing(rgb: np.ndarray, label: int, rng: np.random.Generator) -> None:
    """Both classes alike."""


def frame(rgb: np.ndarray, label: int, rng: np.random.Generator) -> None:
    for edge in (rgb[:3], rgb[-3:]):
        edge[:] = np.clip(edge.astype(int) + (60 if label else 0), 0, 255)


def light(rgb: np.ndarray, label: int, rng: np.random.Generator) -> None:
    rgb[:] = np.clip(rgb.astype(int) + (40 if label else 0), 0, 255)


def face(rgb: np.ndarray, label: int, rng: np.random.Generator) -> None:
    rgb[9:23, 9:23] = np.clip(rgb[9:23, 9:23].astype(int) + (40 if label else 0), 0, 255)


def make(folder: Path, paint: Paint = nothing, count: int = 240, seed: int = 0, name: str = "faces") -> pd.DataFrame:
    """An archive of noise with patches, half of it fake, and its manifest."""
    rng = np.random.default_rng(seed)
    files, rows = {}, []
    for n in range(count):
        label = n % 2
        rgb = np.repeat(rng.integers(40, 180, (8, 8, 1), np.uint8), 3, axis=2).repeat(4, 0).repeat(4, 1)
        paint(rgb, label, rng)
        path = f"{KAGGLE_ROOT}/train/{('real', 'fake')[label]}/{n:04}.png"
        files[path] = encode_png(rgb)
        rows.append({
            "path": path, "split": "train", "label": label, "group": path, "source": name, "error": "",
            "bytes": int(rng.integers(20_000, 40_000)), "width_px": 256, "height_px": 256, "exif": False,
            "mode": "RGB", "format": "JPEG", "quantization": "q1", "subsampling": "4:2:0",
        })  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_zip(folder / f"{name}.zip", files.items())
    return pd.DataFrame(rows)


def probes(manifest: pd.DataFrame, archive: Path) -> dict[str, LeakProbe]:
    return {probe.name: probe for probe in probe_leaks(manifest, archive, SETTINGS, LIMIT)}


def failed(found: dict[str, LeakProbe]) -> list[str]:
    return [name for name, probe in found.items() if not probe.passed]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    folder = tmp_path_factory.mktemp("clean")
    return make(folder), folder / "faces.zip"


def test_pictures_without_a_shortcut_pass(clean: tuple[pd.DataFrame, Path]) -> None:
    found = probes(*clean)
    assert list(found) == [*KINDS, "sharpness", "compression"]
    assert failed(found) == []
    for probe in found.values():
        assert probe.low is not None
        assert probe.high is not None
        assert probe.low < 0.55 < 0.65
        assert probe.high > 0.45
        assert probe.images == 240
    assert found["metadata"].threshold == SETTINGS.max_metadata_auc
    assert found["centre"].threshold is None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("format", "PNG"),
        ("quantization", "q2"),
        ("subsampling", "4:4:4"),
        ("mode", "L"),
        ("exif", True),
        ("width_px", 255),
        ("bytes", 50_000),
    ],
)
def test_a_class_saved_in_another_way_stops(clean: tuple[pd.DataFrame, Path], column: str, value: Any) -> None:
    manifest = clean[0].copy()
    manifest.loc[(manifest["label"] == 1) & (np.arange(240) % 5 > 0), column] = value
    found = probes(manifest, clean[1])
    assert failed(found) == ["metadata"]
    assert found["metadata"].severity == "stop"
    assert "significantly above 0.600" in found["metadata"].reason
    assert found["metadata"].auc == pytest.approx(0.9, abs=0.05)  # four of five fakes are revealed


@pytest.mark.parametrize(
    ("paint", "expected"), [(frame, ["thumbnail", "border"]), (light, ["thumbnail", "border"]), (face, ["thumbnail"])]
)
def test_a_shortcut_in_the_pixels_is_found_where_it_is(tmp_path: Path, paint: Paint, expected: list[str]) -> None:
    found = probes(make(tmp_path, paint), tmp_path / "faces.zip")
    assert [name for name in failed(found) if name in KINDS] == expected  # an edge that is planted is sharp, too
    assert found["border"].threshold is not None
    centre_high = found["centre"].high or 0
    assert found["border"].threshold == min(1, max(0.6, centre_high + SETTINGS.max_border_gap))
    if paint is face:
        assert (found["centre"].auc or 0) > 0.95
        assert (found["border"].auc or 1) < 0.65


def blur(rgb: np.ndarray, label: int, rng: np.random.Generator) -> None:
    rgb[:] = corruptions.blur(rgb, 0.8) if label else rgb


def recompress(rgb: np.ndarray, label: int, rng: np.random.Generator) -> None:
    rgb[:] = corruptions.jpeg(rgb, 70 if label else 95)


@pytest.mark.parametrize(("paint", "expected"), [(blur, ["sharpness", "compression"]), (recompress, ["compression"])])
def test_sharpness_and_compression_alone_are_found(tmp_path: Path, paint: Paint, expected: list[str]) -> None:
    found = probes(make(tmp_path, paint), tmp_path / "faces.zip")
    assert set(failed(found)) >= set(expected)
    for name in expected:
        assert (found[name].auc or 0) > 0.8
        assert (found[name].threshold, found[name].severity) == (SETTINGS.max_sharpness_auc, "warn")


@pytest.mark.parametrize(
    ("feature", "expected"), [(0, {"sharpness", "compression"}), (4, {"compression"}), (None, set())]
)
def test_textures_of_crops_are_probed(feature: int | None, expected: set[str]) -> None:
    rows = pd.DataFrame({"label": np.tile([0, 1], 60), "group": np.arange(120).astype(str)})
    textures = np.random.default_rng(0).normal(size=(120, 6))
    if feature is not None:
        textures[rows["label"] == 1, feature] += 3
    found = {probe.name: probe for probe in probe_textures(rows, textures, 0.6, "matched ", " (a)")}
    assert list(found) == ["matched sharpness (a)", "matched compression (a)"]
    assert set(failed(found)) == {f"matched {name} (a)" for name in expected}
    assert all(probe.images == 120 for probe in found.values())
    few = probe_textures(rows[:20], textures[:20], 0.6)
    assert [(probe.auc, probe.passed) for probe in few] == [(None, True)] * 2


def test_threshold_and_severity_are_settings(clean: tuple[pd.DataFrame, Path]) -> None:
    manifest = clean[0].copy()
    manifest.loc[(manifest["label"] == 1) & (np.arange(240) % 2 > 0), "format"] = "PNG"
    lenient = replace(SETTINGS, max_metadata_auc=1.0, severity={**SETTINGS.severity, "metadata": "warn"})
    metadata = probe_leaks(manifest, clean[1], lenient, LIMIT)[0]
    assert (metadata.auc, metadata.passed, metadata.severity) == (1.0, True, "warn")


def test_a_group_lies_in_one_fold(clean: tuple[pd.DataFrame, Path]) -> None:
    # Thirty videos of eight pictures, all of one class: a model that has seen the video knows the class by its size.
    manifest = clean[0].sort_values(["label", "path"]).copy()
    video = np.arange(240) // 8
    size_px = np.random.default_rng(3).permutation(30) * 10 + 100
    manifest["width_px"] = size_px[video]
    ungrouped = probes(manifest, clean[1])["metadata"]
    assert (ungrouped.auc or 0) > 0.9
    manifest["group"] = video.astype(str)
    grouped = probes(manifest, clean[1])["metadata"]
    assert (grouped.auc or 1) < 0.75
    assert grouped.passed


def test_too_few_pictures_are_not_measured(clean: tuple[pd.DataFrame, Path]) -> None:
    manifest = clean[0].iloc[:98].copy()
    manifest.loc[manifest["label"] == 1, "format"] = "PNG"
    found = probes(manifest, Path("nowhere.zip"))  # not even read
    assert list(found) == [*KINDS, "sharpness", "compression"]
    for probe in found.values():
        assert probe.passed
        assert (probe.auc, probe.low, probe.high) == (None, None, None)
        assert probe.reason == "not measured: too few images (49 real, 49 fake; 50 of each are needed)"


def test_groups_too_large_for_five_folds_are_not_measured(clean: tuple[pd.DataFrame, Path]) -> None:
    manifest = clean[0].assign(group=np.where(clean[0]["label"] == 1, "one", clean[0]["path"]))
    probe = probes(manifest, clean[1])["metadata"]
    assert probe.passed
    assert probe.reason.startswith("not measured: the groups")


def test_unreadable_pictures_are_ignored(clean: tuple[pd.DataFrame, Path]) -> None:
    manifest = clean[0].copy()
    manifest.loc[:9, "error"] = "cut short"
    manifest.loc[:9, "path"] = [f"missing/{n}" for n in range(10)]
    assert probes(manifest, clean[1])["thumbnail"].images == 230


def test_the_order_of_the_manifest_does_not_matter(clean: tuple[pd.DataFrame, Path]) -> None:
    shuffled = clean[0].sample(frac=1, random_state=1)
    first, second = (probe_leaks(m, clean[1], replace(SETTINGS, probe_images=150), LIMIT) for m in (clean[0], shuffled))
    assert [asdict(probe) for probe in first] == [asdict(probe) for probe in second]
    assert first[0].images == 150


def test_the_sample_is_balanced_over_sources_and_classes() -> None:
    rows = [(source, label) for source, n in (("a", 900), ("b", 100)) for label in (0, 1) for _ in range(n)]
    table = pd.DataFrame(rows, columns=["source", "label"])
    table["path"], table["error"] = [str(n) for n in range(len(table))], ""
    counts = sample_images(table, 600).groupby(["source", "label"]).size().to_dict()
    assert counts == {("a", 0): 150, ("a", 1): 150, ("b", 0): 100, ("b", 1): 100}
    assert len(sample_images(table.assign(error="broken"), 600)) == 0


def test_sources_are_probed_alone_and_together(tmp_path: Path) -> None:
    # `old` is PNG and `new` is JPEG, each with both classes: knowing the source does not help.
    old, new = make(tmp_path, name="old", seed=1).assign(format="PNG"), make(tmp_path, name="new", seed=2)
    both = pd.concat([old.assign(path="old/" + old["path"]), new.assign(path="new/" + new["path"])])
    both["group"] = both["path"]
    found = probes(both, tmp_path)
    names = [f"{kind} ({scope})" for scope in ("all sources", "new", "old") for kind in
             (*KINDS, "sharpness", "compression")]  # fmt: skip
    assert list(found) == names
    assert failed(found) == []
    # Without its real pictures, the format of `old` alone reveals fakes; within `new` nothing is wrong.
    lacking = both[(both["source"] == "new") | (both["label"] == 1)]
    found = probes(lacking, tmp_path)
    assert failed(found) == ["metadata (all sources)"]
    assert "not measured" in found["metadata (old)"].reason
    assert found["metadata (new)"].auc is not None


def test_encodings_are_distinct_up_to_a_limit() -> None:
    rows = pd.DataFrame({
        "bytes": 1, "width_px": 1, "height_px": 1, "exif": False, "mode": "RGB", "format": "JPEG",
        "quantization": [f"q{n}" for n in range(1000)] + ["common"] * 10, "subsampling": "4:2:0",
    })  # fmt: skip
    features = metadata_features(rows)
    assert features["quantization"].nunique() == 201
    assert {"common", "rare"} <= set(features["quantization"])
