"""From files to a verdict: models and their profiles, baselines, and what the report says of its own limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.errors import BadInput
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.model.bundle_profile import Profile
from deepfake_detector.model.bundle_upgrade import with_profile
from deepfake_detector.monitoring.drift import decide_verdict, measure_drift
from deepfake_detector.monitoring.expectations import Checked, check_distances
from deepfake_detector.monitoring.measurements import ALL_DAYS, LIMITS, Measurements, measure
from deepfake_detector.monitoring.page import write_page
from deepfake_detector.monitoring.reference import period_reference, profile_reference, trained_groups
from deepfake_detector.stats import Estimate

# Great Expectations imports modules that Python 3.11 calls deprecated (sre_constants, sre_parse).
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny: Any, profile: Profile) -> Bundle:
    return with_profile(tiny.write_bundle(tmp_path_factory.mktemp("drift") / "bundle"), profile)


def write_log(path: Path, answers: pd.DataFrame, sha256: str) -> Path:
    """The lines that the service would write of these answers."""
    with path.open("w", encoding="utf-8") as stream:
        for number, row in enumerate(answers.itertuples()):
            scored = not np.isnan(row.p_fake)  # type: ignore[arg-type]
            quality = {name: round(getattr(row, name), 2) for name in ("brightness", "contrast", "sharpness")}
            line = {
                "time": f"{row.day}T12:00:00.{number % 1000:03d}+00:00", "request_id": f"{path.name}-{number}",
                "model_sha256": sha256, "kind": row.kind, "verdict": row.verdict,
                "p_fake": row.p_fake if scored else None,
                "faces": row.faces, "largest_face_px": round(float(str(row.largest_face_px)), 1) if row.faces else 0.0,
                "quality": quality if scored else None, "file_bytes": number, "processing_s": 0.01,
            }  # fmt: skip
            stream.write(json.dumps(line) + "\n")
    return path


def answers(world: Callable[..., Any], seed: int, n: int = 1500, **changed: float) -> pd.DataFrame:
    table: pd.DataFrame = world(**changed).draw(n, np.random.default_rng(seed), days=5)
    return table


def test_the_digest_of_a_line_finds_the_profile(
    tmp_path: Path, bundle: Bundle, tiny: Any, world: Callable[..., Any]
) -> None:
    old = tiny.write_bundle(tmp_path / "old", gain=4.0)
    logs = [
        write_log(tmp_path / "new.jsonl", answers(world, 2), bundle.sha256),
        write_log(tmp_path / "old.jsonl", answers(world, 3, 300), old.sha256),
        write_log(tmp_path / "unknown.jsonl", answers(world, 4, 300), "f" * 64),
    ]
    report = measure_drift(logs, [old, bundle])
    assert (report.verdict, report.drifted) == ("quiet", False)
    (model,) = report.models
    assert (model.sha256, len(model.answers), len(model.days)) == (bundle.sha256, 1500, 5)
    assert report.without_profile == {
        old.sha256: "no profile: its bundle has format 3", "f" * 64: "no profile: no bundle with this digest was found",
    }  # fmt: skip
    content = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert content["models"][0]["share_of_fakes"]["value"] == pytest.approx(0.3, abs=0.05)
    assert content["logs"]["lines"] == 2100
    with pytest.raises(BadInput, match=r"no profile: .*format 3") as found:
        measure_drift(logs[1:2], [old])
    assert found.value.exit_code == 1


def test_too_few_pictures_are_not_called_quiet(tmp_path: Path, bundle: Bundle, world: Callable[..., Any]) -> None:
    log = write_log(tmp_path / "few.jsonl", answers(world, 2, 150), bundle.sha256)
    with pytest.raises(BadInput, match="too few pictures: 150 by"):
        measure_drift([log], [bundle])


def test_a_period_taken_as_normal_replaces_the_profile(
    tmp_path: Path, bundle: Bundle, world: Callable[..., Any]
) -> None:
    """Pictures of a service differ from test pictures; only a change of what is usual there is news."""
    usual = {"face_px": 90.0, "fake_share": 0.1}
    normal = write_log(tmp_path / "normal.jsonl", answers(world, 5, 1500, **usual), bundle.sha256)
    same = write_log(tmp_path / "same.jsonl", answers(world, 6, 1500, **usual), bundle.sha256)
    more = write_log(tmp_path / "more.jsonl", answers(world, 7, 1500, **usual | {"fake_share": 0.4}), bundle.sha256)
    smaller = write_log(tmp_path / "smaller.jsonl", answers(world, 8, 1500, **usual | {"face_px": 60.0}), bundle.sha256)
    assert measure_drift([same], [bundle]).verdict == "covariate shift"
    verdicts = {log.stem: measure_drift([log], [bundle], [normal]).verdict for log in (same, more, smaller)}
    assert verdicts == {"same": "quiet", "more": "prior shift", "smaller": "covariate shift"}
    few = write_log(tmp_path / "few.jsonl", answers(world, 9, 100), bundle.sha256)
    with pytest.raises(BadInput, match="the baseline has"):
        measure_drift([same], [bundle], [few])


def test_a_period_weighted_to_another_share_is_like_a_stream_with_that_share(
    world: Callable[..., Any], profile: Profile
) -> None:
    period = world(fake_share=0.2).draw(20_000, np.random.default_rng(1))
    reference = period_reference(period, profile, "last month")
    assert reference.fake_share == pytest.approx(0.2, abs=0.03)
    for quantity in ("p_fake", "sharpness", "brightness"):
        expected = world(fake_share=0.6).draw(20_000, np.random.default_rng(2))[quantity].mean()
        weighted = np.average(reference.values[quantity], weights=reference.weights(quantity, 0.6))
        assert weighted == pytest.approx(expected, rel=0.04)


def test_the_profile_counts_each_class_at_any_share(profile: Profile) -> None:
    reference = profile_reference(profile)
    fakes, reals = (sum(g.pictures for g in profile.groups if g.is_fake is fake) for fake in (True, False))
    assert reference.counts["faces"].sum(axis=1).tolist() == [reals, fakes]
    counts, size = reference.weighted_counts("faces", None)
    assert counts.sum() == 3000
    assert size == pytest.approx(3000)
    even, worth = reference.weighted_counts("unscored", 0.5)
    assert even.sum() == pytest.approx(3000, rel=0.02)
    assert worth < 3000


def test_videos_are_counted_and_not_compared(tmp_path: Path, bundle: Bundle, world: Callable[..., Any]) -> None:
    table = answers(world, 2)
    clips = answers(world, 3, 400, face_px=20.0).assign(kind="video")
    report = measure_drift([write_log(tmp_path / "a.jsonl", pd.concat([table, clips]), bundle.sha256)], [bundle])
    assert (report.models[0].videos, len(report.models[0].answers), report.verdict) == (400, 1500, "quiet")


def test_great_expectations_decides_as_the_numbers_say(world: Callable[..., Any], profile: Profile) -> None:
    table = measure(answers(world, 4, face_px=120.0, fake_share=0.4), profile_reference(profile)).table
    checked = check_distances(table)
    for failed, distance, p_value in (
        (checked.failed, "distance", "p_adjusted"),
        (checked.failed_weighted, "weighted_distance", "weighted_p_adjusted"),
    ):
        expected = table.index[(table[p_value] < 0.01) & (table[distance] > table["limit"])]
        assert sorted(failed) == sorted(expected)
    assert checked.failed
    statuses = {check.name: check.passed for check in checked.checks}
    assert len(statuses) == 2 * len(LIMITS)
    assert not statuses["face sizes, as it is"]
    assert statuses["faces per picture, weighted"]


def decided(failed: set[int], weighted: set[int], share: Estimate | None, reference: float | None = 0.3) -> str:
    table = pd.DataFrame({"window": [ALL_DAYS, "2026-11-01"], "p_value": [0.5, 0.5]})
    shares = {} if share is None else {ALL_DAYS: share}
    return decide_verdict(Measurements(table, shares), Checked((), frozenset(failed), frozenset(weighted)), reference)


def test_prior_shift_needs_another_share_and_nothing_unexplained() -> None:
    moved, same = Estimate(0.6, 0.55, 0.65), Estimate(0.3, 0.25, 0.35)
    assert decided(set(), {0}, moved) == "quiet"
    assert decided({0}, set(), moved) == "prior shift"
    assert decided({0}, {1}, moved) == "prior shift"
    assert decided({0}, {0}, moved) == "covariate shift"
    assert decided({0}, set(), same) == "covariate shift"
    assert decided({0}, set(), None) == "covariate shift"
    assert decided({0}, set(), moved, None) == "covariate shift"
    assert decided({1}, set(), moved) == "covariate shift"  # the share of that day is unknown


def test_the_page_needs_no_network_and_says_what_it_cannot_say(
    tmp_path: Path, bundle: Bundle, world: Callable[..., Any]
) -> None:
    log = write_log(tmp_path / "a.jsonl", answers(world, 7, fake_share=0.6), bundle.sha256)
    log.write_text(log.read_text(encoding="utf-8") + "<script>alert(1)</script>\n", encoding="utf-8")
    report = measure_drift([log], [bundle])
    page = write_page(report, tmp_path / "pages" / "drift.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert "//" not in page.split("<style>")[0] + page.split("</style>")[1].split("data:image")[0]
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    for sentence in (
        "prior shift",
        "What it cannot say",
        "how many answers are right",
        "broken lines: 1",
        *report.summary[1:2],
    ):
        assert sentence.split(": ", 1)[-1][:40] in page, sentence


def test_sources_that_were_left_out_of_training_are_no_reference(profile: Profile) -> None:
    missed = profile.groups[1].model_copy(
        update={
            "source": "elsewhere",
            "quantities": profile.groups[0].quantities,
            "unscored": profile.groups[0].unscored,
        }
    )
    whole = Profile.model_construct(groups=(*profile.groups, missed))
    assert trained_groups(whole, {"world": "digest"}).groups == profile.groups
    assert trained_groups(whole, {"other": "digest"}) == whole
