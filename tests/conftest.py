"""What all tests share: a small real bundle, answers to which can be worked out by hand, and an empty store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from deepfake_detector.model.bundle import Bundle, Contract, Thresholds, write_bundle

pytest_plugins = ["tests.pipeline_checkout"]  # which tests of the registry, of its stage and of its commands walk
SIDE_PX = 64
HOME = pytest.StashKey[str]()
MARK = "DEEPFAKE_TESTS_OF"  # in the environment of all that this process starts, daemons too


def pytest_configure(config: pytest.Config) -> None:
    """Give BentoML, which makes folders when imported, a home of its own: nothing is written to the user's."""
    config.stash[HOME] = tempfile.mkdtemp(prefix="deepfake-tests-")
    os.environ["BENTOML_HOME"] = config.stash[HOME]
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.environ[MARK] = str(os.getpid())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take it away."""
    shutil.rmtree(config.stash[HOME], ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def nothing_survives() -> Iterator[None]:
    """What a file of tests started ends with it: a survivor may hold the run's output open for ever."""
    before = _started()
    yield
    left = list(filter(None, map(_killed, _started() - before)))
    assert not left, f"still running after this file's tests, now killed: {left}"


def _started() -> set[psutil.Process]:
    """Alive: children of this process, and whatever carries its mark."""
    found = set(psutil.Process().children(recursive=True))
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(os.getpid()) and process.pid != os.getpid():
                found.add(process)
    return found


def _killed(process: psutil.Process) -> str | None:
    """The command line of what had to be killed; Python's own trackers may live as long as their parent does."""
    with suppress(psutil.NoSuchProcess):
        try:
            process.wait(timeout=2)  # it may be about to end
        except psutil.TimeoutExpired:
            said = " ".join(process.cmdline())[:200]
            if "multiprocessing.resource_tracker" not in said and "multiprocessing.forkserver" not in said:
                process.kill()
                return said
    return None


def tiny_contract(**changed: object) -> Contract:
    """The contract of the tiny bundle, with some values changed."""
    values = {
        "format_version": 3,
        "network": "tiny",
        "side_px": SIDE_PX,
        "alignment": "ffhq",
        "crop_scale": 0.5,
        "kinds": ("synthetic", "swap"),
        "min_face_px": 48,
        "temperature": 1.5,
        "thresholds": Thresholds(clear=0.3, flag=0.7, strict=0.9),
        "video": {
            "thresholds": {"clear": 0.3, "flag": 0.7, "strict": 0.9},
            "flag_false_positive_rate": 0.01,
            "strict_false_positive_rate": 0.001,
        },
        "trained_on": "photographs",
        "data_sha256": {"nothing": "0" * 64},
        "train_images": 1,
        "test_images": 1,
        "test_metrics": {"accuracy": 0.5},
        "run_id": "0" * 32,
        "weights_sha256": "0" * 64,
    }
    return Contract.model_validate(values | changed)


def write_tiny_graph(path: Path, gain: float = 8.0) -> None:
    """uint8 (n, side, side, 3) -> logit map (n, 4, 4) = gain * (mean of red - mean of blue) of each sixteenth, 0..1.

    Its mean is the logit; the kinds (n, 2) have one and three quarters of the odds, so that they add up to it.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.zeros((1, 3, 1, 1), np.float32)
    weights[0, :, 0, 0] = (gain, 0.0, -gain)
    cell_px = SIDE_PX // 4
    nodes = [
        helper.make_node("Cast", ["crops"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "full"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights"], ["signal"], kernel_shape=[1, 1]),
        helper.make_node("AveragePool", ["signal"], ["cells"], kernel_shape=[cell_px] * 2, strides=[cell_px] * 2),
        helper.make_node("Squeeze", ["cells", "one"], ["logit_map"]),
        helper.make_node("ReduceMean", ["logit_map", "spatial"], ["logits"], keepdims=0),
        helper.make_node("Unsqueeze", ["logits", "one"], ["column"]),
        helper.make_node("Add", ["column", "shares"], ["kinds"]),
    ]
    constants = {
        "full": np.array(255.0, np.float32),
        "weights": weights,
        "one": np.array([1], np.int64),
        "spatial": np.array([1, 2], np.int64),
        "shares": np.log(np.array([[0.25, 0.75]], np.float32)),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", SIDE_PX, SIDE_PX, 3])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("logit_map", TensorProto.FLOAT, ["n", 4, 4]),
            helper.make_tensor_value_info("kinds", TensorProto.FLOAT, ["n", 2]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_tiny_bundle(path: Path, gain: float = 8.0, **changed: object) -> Bundle:
    """Seal a tiny bundle whose reference outputs are OpenVINO's own in f32."""
    from deepfake_detector.openvino_graph import ov  # type: ignore[attr-defined]

    path.parent.mkdir(parents=True, exist_ok=True)
    graph, reference = path.with_suffix(".onnx"), path.with_suffix(".npz")
    write_tiny_graph(graph, gain)
    crops = np.random.default_rng(0).integers(0, 256, (4, SIDE_PX, SIDE_PX, 3), np.uint8)
    compiled = ov.Core().compile_model(str(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = compiled({0: crops})
    np.savez(reference, crops=crops, **{name: outputs[name] for name in ("logits", "logit_map", "kinds")})
    bundle = write_bundle(path, graph, tiny_contract(**changed), reference, "# tiny\n")
    graph.unlink()
    reference.unlink()
    return bundle


class Tiny:
    """The makers above, for tests: this tree is imported file by file, so tests cannot import them."""

    side_px = SIDE_PX
    contract = staticmethod(tiny_contract)
    write_graph = staticmethod(write_tiny_graph)
    write_bundle = staticmethod(write_tiny_bundle)


@pytest.fixture(scope="session")
def tiny() -> type[Tiny]:
    """Makers of tiny graphs and bundles."""
    return Tiny


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A sealed bundle that calls reddish faces fake and bluish faces real; made once per test session."""
    return write_tiny_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """A drawn person (256, 256, 3) whose face the detector finds."""
    from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
    from deepfake_detector.media.image import decode_image

    return decode_image(draw_sample(3, "test", "real", 0))


def tinted(rgb: NDArray[np.uint8], red: float, blue: float) -> NDArray[np.uint8]:
    """The same picture in a coloured light; the tiny model calls red faces fake and blue ones real."""
    return np.asarray(rgb * np.array([red, 0.7, blue]), np.uint8)


@pytest.fixture(scope="session")
def red_portrait(portrait: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fake, says the tiny model."""
    return tinted(portrait, 1.0, 0.3)


@pytest.fixture(scope="session")
def blue_portrait(portrait: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Real, says the tiny model."""
    return tinted(portrait, 0.3, 1.0)


@pytest.fixture(scope="session")
def clip(
    red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Two seconds at 10 frames a second: a blue person on the left throughout, a red one on the right after 1 s."""
    import av

    path = tmp_path_factory.mktemp("clip") / "two.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 640, 256, "yuv420p", 4_000_000
        for i in range(20):
            page = np.full((256, 640, 3), 90, np.uint8)
            page[:, :256] = blue_portrait
            if i >= 10:
                page[:, 384:] = red_portrait
            container.mux(stream.encode(av.VideoFrame.from_ndarray(page, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Opened once by the real code, in its own process; migrating takes 5 to 9 s and a copy takes none."""
    path = tmp_path_factory.getbasetemp() / "empty-mlflow.db"
    if not path.exists():
        environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{path}", "MLFLOW_DISABLE_TELEMETRY": "true"}
        code = "from deepfake_detector.tracking.store import open_client; open_client()"
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    return path
