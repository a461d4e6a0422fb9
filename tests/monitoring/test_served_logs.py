"""Logs of the real service, whose pictures were degraded in three ways: every figure once more, another way."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.inference.detector import Detector
from deepfake_detector.media.image import decode_image, encode_jpeg, encode_png
from deepfake_detector.media.image_stats import measure_image
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.model.bundle_profile import QUANTITIES, Distribution, GroupProfile, Profile
from deepfake_detector.model.bundle_upgrade import with_profile
from deepfake_detector.monitoring import drift, measurements
from deepfake_detector.monitoring.drift import DriftReport, measure_drift
from deepfake_detector.serving.dispatcher import Dispatcher
from deepfake_detector.serving.messages import Job
from deepfake_detector.serving.openapi import ModelIdentity
from deepfake_detector.serving.options import ServingOptions

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")]

PICTURES, MIN_PICTURES = 30, 25
Pixels = NDArray[np.uint8]


def clean(rgb: Pixels) -> bytes:
    return encode_png(rgb)


def noisy(rgb: Pixels) -> bytes:
    noise = np.random.default_rng(0).normal(0, 20, rgb.shape)
    return encode_png(np.asarray(np.clip(rgb + noise, 0, 255), np.uint8))


def small(rgb: Pixels) -> bytes:
    return encode_png(np.asarray(cv2.resize(rgb, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), np.uint8))


def bright(rgb: Pixels) -> bytes:
    return encode_jpeg(np.asarray(np.clip(rgb.astype(np.int64) + 60, 0, 255), np.uint8), 95)


DEGRADED: dict[str, Callable[[Pixels], bytes]] = {"clean": clean, "noisy": noisy, "small": small, "bright": bright}
MOVED = {"noisy": "sharpness", "small": "largest_face_px", "bright": "brightness"}


def portraits(seed: int) -> list[Pixels]:
    """Drawn people, half of them in red light: fakes, says the tiny model."""
    found = []
    for i in range(PICTURES):
        rgb = decode_image(draw_sample(seed, "test", "real", i))
        red, blue = (1.0, 0.5) if i % 2 else (0.5, 1.0)
        found.append(np.asarray(rgb * np.array([red, 0.8, blue]), np.uint8))
    return found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny: Any) -> Bundle:
    """The tiny model with the profile of other drawn people, measured by the detector."""
    plain = tiny.write_bundle(tmp_path_factory.mktemp("served") / "bundle")
    detector = Detector(plain)
    groups = []
    for label in (0, 1):
        values = [expected(detector, clean(rgb)) for i, rgb in enumerate(portraits(seed=4)) if i % 2 == label]
        columns = {name: np.array([row[name] for row in values]) for name in QUANTITIES}
        scored = ~np.isnan(columns["p_fake"])
        faces = np.bincount([int(row["faces"]) for row in values], minlength=5)
        groups.append(
            GroupProfile(
                source="drawn", kind="synthetic" if label else "", pictures=len(values), unscored=int((~scored).sum()),
                verdicts={"fake": 0, "real": 0, "inconclusive": len(values)}, faces=tuple(int(n) for n in faces),
                quantities={name: Distribution.of(each) for name, each in columns.items()},
            )
        )  # fmt: skip
    return with_profile(plain, Profile(groups=tuple(groups)))


def expected(detector: Detector, content: bytes) -> dict[str, float]:
    """What a log line must say about a picture, from the parts of the detector instead of its observer."""
    crops = detector.crop_faces(decode_image(content))
    pixels = [each.pixels for each in crops if each.pixels is not None]
    engine = detector._engine
    scores = engine.p_fake(engine.score(np.stack(pixels)).logits).tolist() if pixels else []
    largest = crops[0].pixels if crops else None
    stats = None if largest is None else measure_image(largest)
    return {
        "p_fake": max(scores, default=np.nan),
        "faces": len(crops),
        "largest_face_px": max((round(min(each.face.box_px[2:]), 1) for each in crops), default=np.nan),
        "brightness": np.nan if stats is None else round(stats.brightness, 2),
        "contrast": np.nan if stats is None else round(stats.contrast, 2),
        "sharpness": np.nan if stats is None else round(stats.sharpness, 2),
    }


@pytest.fixture(scope="module")
def served(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[bytes]]]:
    """Name of the degradation -> lines of a service that answered these pictures, and the pictures."""
    folder = tmp_path_factory.mktemp("logs")
    people = portraits(seed=9)
    contents = {name: [degrade(rgb) for rgb in people] for name, degrade in DEGRADED.items()}
    options = ServingOptions(workers=1, prediction_log=folder / "all.jsonl")
    dispatcher = Dispatcher(bundle, ModelIdentity("pretrained", "1", "for a test"), options)
    dispatcher.start()
    try:
        asyncio.run(answer(dispatcher, contents))
    finally:
        dispatcher.stop()
    lines = (folder / "all.jsonl").read_text(encoding="utf-8").splitlines()
    for name in contents:
        own = [line for line in lines if json.loads(line)["request_id"].startswith(f"{name}-")]
        (folder / f"{name}.jsonl").write_text("\n".join(own) + "\n", encoding="utf-8")
    return {name: (folder / f"{name}.jsonl", each) for name, each in contents.items()}


async def answer(dispatcher: Dispatcher, contents: dict[str, list[bytes]]) -> None:
    """Wait for the answers in the order of the pictures, which is then that of the log."""
    job = Job(kind="image")
    for name, pictures in contents.items():
        for number, future in enumerate(dispatcher.submit(job, [temporary(each) for each in pictures])):
            await dispatcher.result(job, future, f"{name}-{number}")


def temporary(content: bytes) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the dispatcher closes it
    file.write(content)
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def reports(bundle: Bundle, served: dict[str, tuple[Path, list[bytes]]]) -> Iterator[dict[str, DriftReport]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurements, "MIN_PICTURES", MIN_PICTURES)
        patch.setattr(drift, "MIN_PICTURES", MIN_PICTURES)
        yield {name: measure_drift([log], [bundle]) for name, (log, _) in served.items()}


def test_the_log_holds_what_the_parts_of_the_detector_measure(
    bundle: Bundle, served: dict[str, tuple[Path, list[bytes]]], reports: dict[str, DriftReport]
) -> None:
    detector = Detector(bundle)
    for name, (_, contents) in served.items():
        table = reports[name].models[0].answers.reset_index(drop=True)
        assert len(table) == PICTURES
        for number, content in enumerate(contents):
            for quantity, value in expected(detector, content).items():
                assert table.loc[number, quantity] == pytest.approx(value, abs=0.011, nan_ok=True), (name, quantity)


def test_each_degradation_is_found_and_named(reports: dict[str, DriftReport]) -> None:
    assert reports["clean"].verdict == "quiet"
    for name, quantity in MOVED.items():
        model = reports[name].models[0]
        assert model.verdict == "covariate shift", name
        assert quantity in set(model.measurements.table.loc[sorted(model.unexplained_rows), "quantity"]), name


def test_distances_by_their_definition(bundle: Bundle, reports: dict[str, DriftReport]) -> None:
    """Kolmogorov-Smirnov by comparing shares at every value, Wasserstein by integrating, shares by counting."""
    for report in reports.values():
        model = report.models[0]
        rows = model.measurements.table.set_index("quantity")
        assert rows["p_value"].notna().all()
        for quantity in QUANTITIES:
            stream = model.answers[quantity].dropna().to_numpy(float)
            reference = model.reference.values[quantity]
            at = np.sort(np.concatenate([stream, reference]))
            gaps = np.array([abs((stream <= x).mean() - (reference <= x).mean()) for x in at])
            assert rows.loc[quantity, "distance"] == pytest.approx(gaps.max(), abs=1e-9)
            moved = float((gaps[:-1] * np.diff(at)).sum()) / reference.std()
            assert rows.loc[quantity, "wasserstein"] == pytest.approx(moved, rel=1e-6)
        shares = np.array([(model.answers["faces"] == n).mean() for n in range(5)])
        others = model.reference.counts["faces"].sum(axis=0) / model.reference.counts["faces"].sum()
        assert rows.loc["faces", "distance"] == pytest.approx(np.abs(shares - others).sum() / 2, abs=1e-9)


def test_answers_and_abstentions_are_counted(reports: dict[str, DriftReport]) -> None:
    for report in reports.values():
        model = report.models[0]
        daily = model.daily_shares()
        total = daily["pictures"].sum()
        for verdict in ("fake", "real", "inconclusive"):
            counted = (daily[verdict] * daily["pictures"]).sum() / total
            assert counted == pytest.approx((model.answers["verdict"] == verdict).mean())
    share = reports["clean"].models[0].fake_share
    assert share is not None
    assert share.low <= 0.5 <= share.high
