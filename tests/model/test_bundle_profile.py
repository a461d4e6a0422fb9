"""profile.json in a bundle: sealed with it, bounded, and missing in format 3."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import BadInput, BundleCorrupt
from deepfake_detector.inference.detector import Detector
from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle, read_bundle, read_profile, write_bundle
from deepfake_detector.model.bundle_profile import (
    LEVELS,
    MAX_BYTES,
    QUANTITIES,
    Distribution,
    GroupProfile,
    Profile,
)
from deepfake_detector.model.bundle_upgrade import with_profile, with_video

ROOT = Path(__file__).parents[2]


def group(source: str = "a", kind: str = "", pictures: int = 150, seed: int = 0) -> GroupProfile:
    rng = np.random.default_rng(seed)
    scored = pictures - 10
    values = {
        "p_fake": rng.random(scored), "largest_face_px": rng.uniform(50, 500, pictures - 5),
        "brightness": rng.uniform(0, 255, scored), "contrast": rng.uniform(0, 100, scored),
        "sharpness": rng.uniform(0, 900, scored),
    }  # fmt: skip
    return GroupProfile(
        source=source,
        kind=kind,
        pictures=pictures,
        unscored=10,
        verdicts={"fake": 50, "real": 40, "inconclusive": pictures - 90},
        faces=(5, pictures - 25, 10, 5, 5),
        quantities={name: Distribution.of(values[name]) for name in QUANTITIES},
    )


@pytest.fixture
def profile() -> Profile:
    return Profile(groups=(group(), group(kind="synthetic", seed=1)))


@pytest.fixture
def bundle(tmp_path: Path, tiny: Any, profile: Profile) -> Bundle:
    return with_profile(tiny.write_bundle(tmp_path / "bundle"), profile)


def reseal(bundle: Path, name: str, content: bytes) -> None:
    (bundle / name).write_bytes(content)
    names = sorted(path.name for path in bundle.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256((bundle / each).read_bytes()).hexdigest()}  {each}\n" for each in names]
    (bundle / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def test_a_profile_is_read_as_it_was_written(bundle: Bundle, profile: Profile) -> None:
    assert bundle.contract.format_version == 4
    assert read_profile(read_bundle(bundle.path)) == profile
    assert profile.pictures == 300


def test_answers_do_not_depend_on_the_profile(
    tmp_path: Path, tiny: Any, profile: Profile, red_portrait: NDArray[np.uint8]
) -> None:
    plain = tiny.write_bundle(tmp_path / "plain")
    before = Detector(plain).predict_image(encode_png(red_portrait))
    kept = {name: (plain.path / name).read_bytes() for name in ("detector.onnx", "reference.npz", "card.md")}
    after = with_profile(plain, profile)
    assert {name: (after.path / name).read_bytes() for name in kept} == kept
    assert after.contract == plain.contract.model_copy(update={"format_version": 4})
    answer = Detector(after).predict_image(encode_png(red_portrait))
    assert answer.model_copy(update={"model": before.model}) == before
    assert after.sha256 != plain.sha256


def test_a_bundle_of_format_3_still_loads_and_has_no_profile(tmp_path: Path, tiny: Any) -> None:
    old = read_bundle(tiny.write_bundle(tmp_path / "old").path)
    assert old.contract.format_version == 3
    with pytest.raises(BadInput, match=r"no profile: the bundle .* has format 3") as found:
        read_profile(old)
    assert found.value.exit_code == 1


def test_another_calibration_of_videos_keeps_the_profile(bundle: Bundle, profile: Profile) -> None:
    from deepfake_detector.model.bundle_contract import Coverage, MediumCoverage

    video = bundle.contract.video.model_copy(update={"videos": 9})
    changed = with_video(bundle, video, MediumCoverage(all=Coverage(files=9, decided=0.5, right=1.0)))
    assert read_profile(changed) == profile


def test_a_changed_or_missing_profile_is_refused(bundle: Bundle) -> None:
    content = bytearray(bundle.profile.read_bytes())
    content[-3] ^= 1
    bundle.profile.write_bytes(content)
    with pytest.raises(BundleCorrupt, match=r"profile\.json"):
        read_bundle(bundle.path)
    bundle.profile.unlink()
    with pytest.raises(BundleCorrupt, match=r"profile\.json"):
        read_bundle(bundle.path)


def test_format_and_files_must_agree(bundle: Bundle) -> None:
    """Sealed again by somebody: the digests hold."""
    contract = (bundle.path / "contract.json").read_text(encoding="utf-8")
    reseal(bundle.path, "contract.json", contract.replace('"format_version": 4', '"format_version": 3').encode())
    with pytest.raises(BundleCorrupt, match="does not belong into a bundle of format 3"):
        read_bundle(bundle.path)
    bundle.profile.unlink()
    reseal(bundle.path, "contract.json", contract.encode())
    with pytest.raises(BundleCorrupt, match=r"profile\.json is missing"):
        read_bundle(bundle.path)


def quantile(content: Any, name: str, values: Any) -> None:
    content["groups"][0]["quantities"][name] = values


CHANGES: dict[str, Callable[[Any], object]] = {
    "score above 1": lambda c: c["groups"][0]["quantities"]["p_fake"]["quantiles"].__setitem__(-1, 1.5),
    "falling quantiles": lambda c: c["groups"][0]["quantities"]["brightness"]["quantiles"].__setitem__(50, 0.0),
    "infinite": lambda c: c["groups"][0]["quantities"]["sharpness"]["quantiles"].__setitem__(-1, float("inf")),
    "not a number": lambda c: c["groups"][0]["quantities"]["sharpness"]["quantiles"].__setitem__(3, float("nan")),
    "too few levels": lambda c: c["groups"][0]["quantities"]["contrast"]["quantiles"].pop(),
    "too many levels": lambda c: c["groups"][0]["quantities"]["contrast"]["quantiles"].append(127.5),
    "quantiles of nothing": lambda c: c["groups"][0]["quantities"]["contrast"].__setitem__("values", 0),
    "more values than pictures": lambda c: c["groups"][0]["quantities"]["contrast"].__setitem__("values", 10**6),
    "missing quantity": lambda c: c["groups"][0]["quantities"].pop("contrast"),
    "unknown quantity": lambda c: quantile(c, "hue", {"values": 0, "quantiles": []}),
    "no pictures": lambda c: c["groups"][0].__setitem__("pictures", 0),
    "faces of other pictures": lambda c: c["groups"][0]["faces"].__setitem__(0, 99),
    "negative count": lambda c: c["groups"][0]["faces"].__setitem__(0, -1),
    "verdicts of other pictures": lambda c: c["groups"][0]["verdicts"].__setitem__("real", 0),
    "unscored and scored": lambda c: c["groups"][0].__setitem__("unscored", 0),
    "two equal groups": lambda c: c["groups"].append(c["groups"][0]),
    "no groups": lambda c: c["groups"].clear(),
    "too many groups": lambda c: c["groups"].extend({**c["groups"][0], "source": str(i)} for i in range(300)),
    "long name": lambda c: c["groups"][0].__setitem__("source", "n" * 10_000),
    "extra": lambda c: c.__setitem__("more", 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_sealed_profile_with_a_value_out_of_its_bounds_is_refused(bundle: Bundle, name: str) -> None:
    content = json.loads(bundle.profile.read_text(encoding="utf-8"))
    CHANGES[name](content)
    reseal(bundle.path, "profile.json", json.dumps(content).encode())
    with pytest.raises(BundleCorrupt, match="values that no profile has"):
        read_profile(read_bundle(bundle.path))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"null", b"[" * 100_000])
def test_a_sealed_profile_that_is_none_is_refused(bundle: Bundle, content: bytes) -> None:
    reseal(bundle.path, "profile.json", content)
    with pytest.raises(BundleCorrupt, match="values that no profile has"):
        read_profile(read_bundle(bundle.path))


def test_a_large_profile_is_refused_before_it_is_read(bundle: Bundle) -> None:
    reseal(bundle.path, "profile.json", b" " * (MAX_BYTES + 1))
    with pytest.raises(BundleCorrupt, match="the limit is"):
        read_profile(read_bundle(bundle.path))


def test_the_largest_allowed_profile_fits_into_the_limit() -> None:
    wide = group("s" * 50).model_copy(update={"quantities": {
        name: Distribution(values=140, quantiles=tuple(np.linspace(0.123456, 0.987654, LEVELS).round(6)))
        for name in QUANTITIES
    }})  # fmt: skip
    groups = tuple(wide.model_copy(update={"source": f"{i:050d}"}) for i in range(300))
    assert len(Profile(groups=groups).model_dump_json()) < MAX_BYTES


def test_a_sample_of_quantiles_has_the_distribution_of_the_values() -> None:
    values = np.random.default_rng(2).lognormal(3, 1, 997)
    sample = Distribution.of(np.append(values, np.nan)).sample()
    assert len(sample) == 997
    levels = np.linspace(0.02, 0.98, 49)
    assert np.quantile(sample, levels) == pytest.approx(np.quantile(values, levels), rel=0.02)
    empty = Distribution.of(np.full(3, np.nan))
    assert (empty.values, empty.sample().tolist()) == (0, [])


def test_writing_without_a_profile_is_format_3(bundle: Bundle, tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "other", bundle.graph, bundle.contract, bundle.reference, "# card\n")
    assert read_bundle(written.path).contract.format_version == 3


# The model that ships with the code


def test_the_shipped_model_has_a_profile_of_its_test_pictures() -> None:
    bundle = read_bundle(ROOT / "pretrained")
    profile = read_profile(bundle)
    assert {each.source for each in profile.groups} == set(bundle.contract.coverage["image"].sources)
    covered = bundle.contract.coverage["image"].all
    scored = sum(each.quantities["p_fake"].values for each in profile.groups)
    assert scored == pytest.approx(covered.files, rel=0.02)
    decided = sum(each.verdicts["fake"] + each.verdicts["real"] for each in profile.groups)
    assert decided / scored == pytest.approx(covered.decided, abs=0.01)


def test_the_shipped_model_answers_as_its_reference_outputs_say() -> None:
    from deepfake_detector.inference.engine import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE, Engine

    bundle = read_bundle(ROOT / "pretrained")
    with np.load(bundle.reference) as reference:
        crops, logits = reference["crops"], reference["logits"]
    tolerance = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * np.abs(logits).max()
    assert np.abs(Engine(bundle).score(crops).logits - logits).max() <= tolerance
