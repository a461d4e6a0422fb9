from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import BundleCorrupt, ToolFailed
from deepfake_detector.inference.engine import REQUESTS_PER_STREAM, Engine
from deepfake_detector.model.bundle import Bundle, write_bundle

SIDE_PX = 64  # of the tiny bundle


def expected_logits(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The formula of the tiny graph: 8 * (mean of red - mean of blue)."""
    means = crops.reshape(len(crops), -1, 3).mean(axis=1) / 255.0
    return np.asarray(8.0 * (means[:, 0] - means[:, 2]), np.float64)


def random_crops(count: int, seed: int = 1) -> NDArray[np.uint8]:
    tint = np.random.default_rng(seed).integers(0, 256, (count, 1, 1, 3))
    return np.broadcast_to(tint, (count, SIDE_PX, SIDE_PX, 3)).astype(np.uint8)


def test_logits_follow_the_formula_of_the_graph(tiny_bundle: Bundle) -> None:
    crops = random_crops(5)
    scores = Engine(tiny_bundle, precision="f32").score(crops)
    assert scores.logits == pytest.approx(expected_logits(crops), abs=1e-4)
    assert scores.logit_map.shape == (5, 4, 4)
    assert scores.logit_map.mean(axis=(1, 2)) == pytest.approx(scores.logits, abs=1e-4)


def test_the_default_precision_is_close(tiny_bundle: Bundle) -> None:
    crops = random_crops(5)
    assert Engine(tiny_bundle).score(crops).logits == pytest.approx(expected_logits(crops), abs=0.1)


def test_no_crops_give_empty_outputs_of_the_right_shape(tiny_bundle: Bundle) -> None:
    scores = Engine(tiny_bundle).score(random_crops(0))
    assert (scores.logits.shape, scores.logit_map.shape, scores.kinds.shape) == ((0,), (0, 4, 4), (0, 2))


def test_more_crops_than_requests_are_scored_in_order(tiny_bundle: Bundle) -> None:
    crops = random_crops(4 * REQUESTS_PER_STREAM * 2 + 3)
    assert Engine(tiny_bundle, precision="f32", streams=2).score(crops).logits == pytest.approx(
        expected_logits(crops), abs=1e-4
    )


@pytest.mark.parametrize("precision", ["f32", None])
def test_a_score_does_not_depend_on_other_crops_nor_on_streams(tiny_bundle: Bundle, precision: str | None) -> None:
    crops = np.random.default_rng(5).integers(0, 256, (9, SIDE_PX, SIDE_PX, 3), np.uint8)
    alone = Engine(tiny_bundle, precision, streams=1)
    one_by_one = [alone.score(crop[None]) for crop in crops]
    together = Engine(tiny_bundle, precision, streams=2).score(crops)
    for name in ("logits", "logit_map", "kinds"):
        singly = np.concatenate([getattr(scores, name) for scores in one_by_one])
        assert singly.tobytes() == getattr(together, name).tobytes()
    p_fake = alone.p_fake(together.logits)
    assert p_fake.tolist() == [float(alone.p_fake(scores.logits)[0]) for scores in one_by_one]


def test_the_logit_is_the_logsumexp_of_the_kinds(tiny_bundle: Bundle) -> None:
    scores = Engine(tiny_bundle, precision="f32").score(random_crops(5))
    assert scores.kinds.shape == (5, 2)
    assert np.logaddexp(*scores.kinds.T) == pytest.approx(scores.logits, abs=1e-4)


def test_a_graph_with_more_kinds_than_the_contract_is_rejected(tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle")
    one = tiny.contract(kinds=("synthetic",))
    other = write_bundle(tmp_path / "wrong", bundle.graph, one, bundle.reference, "# two kinds, says the graph\n")
    with pytest.raises(BundleCorrupt, match=r"'kinds': \(4, 2\).*'kinds': \(4, 1\)"):
        Engine(other)


def test_other_kinds_than_sealed_are_rejected(tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle")
    with np.load(bundle.reference) as sealed:
        changed = {name: sealed[name] for name in sealed} | {"kinds": sealed["kinds"][:, ::-1]}
    np.savez(tmp_path / "changed.npz", **changed)
    other = write_bundle(tmp_path / "wrong", bundle.graph, bundle.contract, tmp_path / "changed.npz", "# swapped\n")
    with pytest.raises(ToolFailed, match="kinds of the reference crops"):
        Engine(other)


@pytest.mark.parametrize("shape", [(1, 32, 32, 3), (1, SIDE_PX, SIDE_PX, 4), (SIDE_PX, SIDE_PX, 3)])
def test_crops_of_another_shape_are_rejected(tiny_bundle: Bundle, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        Engine(tiny_bundle).score(np.zeros(shape, np.uint8))


def test_floats_are_rejected(tiny_bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="float32"):
        Engine(tiny_bundle).score(np.zeros((1, SIDE_PX, SIDE_PX, 3), np.float32))


def test_threads_get_their_own_outputs(tiny_bundle: Bundle) -> None:
    engine = Engine(tiny_bundle, precision="f32")

    def is_correct(seed: int) -> bool:
        crops = random_crops(3, seed)
        return all(np.allclose(engine.score(crops).logits, expected_logits(crops), atol=1e-4) for _ in range(30))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(is_correct, range(4))) == [True] * 4


def test_p_fake_is_the_calibrated_sigmoid_without_overflow(tiny_bundle: Bundle) -> None:
    p_fake = Engine(tiny_bundle).p_fake(np.array([0.0, 3.0, 1e6, -1e6], np.float32))
    assert p_fake == pytest.approx([0.5, 1 / (1 + np.exp(-2.0)), 1.0, 0.0])


def test_other_outputs_than_sealed_are_rejected_with_both_numbers(tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle")
    tiny.write_graph(tmp_path / "other.onnx", gain=-8.0)
    other = write_bundle(
        tmp_path / "wrong", tmp_path / "other.onnx", tiny.contract(), bundle.reference, "# graph of another model\n"
    )
    with pytest.raises(ToolFailed, match=r"-?\d\.\d{4} on this machine, sealed were -?\d\.\d{4}"):
        Engine(other)


def test_a_graph_that_outputs_nan_is_rejected(tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle")
    tiny.write_graph(tmp_path / "nan.onnx", gain=float("nan"))
    other = write_bundle(tmp_path / "wrong", tmp_path / "nan.onnx", tiny.contract(), bundle.reference, "# nan\n")
    with pytest.raises(ToolFailed, match="nan"):
        Engine(other)


def test_a_file_that_is_no_graph_is_rejected(tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle")
    (tmp_path / "junk.onnx").write_bytes(b"not a graph")
    junk = write_bundle(tmp_path / "junk", tmp_path / "junk.onnx", tiny.contract(), bundle.reference, "# junk\n")
    with pytest.raises(BundleCorrupt, match="OpenVINO cannot use"):
        Engine(junk)


def test_where_bf16_is_too_far_from_the_sealed_outputs_float32_is_used(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a processor with AVX512-bf16 a trained network's map moved by 0.57 of 16.6, and its evaluation stopped."""
    self_test = Engine.self_test

    def fails_in_bf16(engine: Engine) -> None:
        if engine.precision is None:
            raise ToolFailed("logit_map of the reference crops: 1.9688 on this machine, sealed were 2.3869")
        self_test(engine)

    monkeypatch.setattr(Engine, "self_test", fails_in_bf16)
    crops = random_crops(5)
    engine = Engine(tiny_bundle)
    assert engine.precision == "f32"
    assert engine.score(crops).logits == pytest.approx(expected_logits(crops), abs=1e-4)
    assert "computing in float32" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"PK\x03\x04 broken", "cannot be read"),
        ({"logits": np.zeros(1, np.float32)}, "has no crops"),
        ({"crops": np.zeros((0, SIDE_PX, SIDE_PX, 3), np.uint8)}, "has no crops"),  # nothing would be compared
        ({"crops": np.zeros((1, 8, 8, 3), np.uint8)}, "has no crops"),
        ({"crops": np.zeros((1, SIDE_PX, SIDE_PX, 3), np.float32)}, "has no crops"),
        ({"crops": np.array([{}], object)}, "cannot be read"),
        ({"crops": np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8), "logits": np.array(["a"])}, "no numbers"),
    ],
)
def test_a_sealed_reference_that_is_none_is_refused(
    tiny_bundle: Bundle, tmp_path: Path, content: bytes | dict[str, Any], message: str
) -> None:
    reference = tmp_path / "reference.npz"
    if isinstance(content, bytes):
        reference.write_bytes(content)
    else:
        np.savez(reference, allow_pickle=True, **content)
    bundle = write_bundle(tmp_path / "bundle", tiny_bundle.graph, tiny_bundle.contract, reference, "")
    with pytest.raises(BundleCorrupt, match=message):
        Engine(bundle)
