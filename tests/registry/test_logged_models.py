"""The registered model as an MLflow user meets it: files in, the answers of `deepfake predict` out."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from deepfake_detector.cli import app
from deepfake_detector.code_digest import import_closure, imported_names
from deepfake_detector.errors import BadInput
from deepfake_detector.inference.engine import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE, Engine
from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle, read_bundle
from deepfake_detector.registry import registration
from deepfake_detector.registry.decisions import is_settled
from deepfake_detector.registry.export import export_bundle
from deepfake_detector.registry.logged_models import PYFUNC_LIBRARIES, pyfunc_signature
from deepfake_detector.registry.model_registry import read_registry
from deepfake_detector.registry.promotion import roll_back
from deepfake_detector.registry.record import RecordedRun, record_candidate
from tests.pipeline_checkout import EXPERIMENT, LINEAGE, PipelineCheckout, StubRescorer, load_keras

pytestmark = pytest.mark.slow

URI = "models:/tiny@champion"


@pytest.fixture
def registered(checkout: PipelineCheckout) -> PipelineCheckout:
    checkout.register(checkout.candidate(trained_on="photographs"))
    return checkout


@pytest.fixture
def model(registered: PipelineCheckout) -> Any:
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(URI)


@pytest.fixture
def files(tmp_path: Path, red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8], clip: Path) -> list[str]:
    """A fake picture, a real one and a video."""
    for name, rgb in (("red.png", red_portrait), ("blue.png", blue_portrait)):
        (tmp_path / name).write_bytes(encode_png(rgb))
    return [str(tmp_path / "red.png"), str(tmp_path / "blue.png"), str(clip)]


def reference(bundle: Bundle) -> dict[str, NDArray[Any]]:
    with np.load(bundle.reference) as arrays:
        return {name: arrays[name] for name in arrays.files}


def test_aligned_crops_get_the_logits_that_are_sealed_in_the_bundle(registered: PipelineCheckout, model: Any) -> None:
    bundle = read_bundle(registered.workspace.bundle)
    sealed = reference(bundle)
    found = model.predict(pd.DataFrame({"data": [encode_png(crop) for crop in sealed["crops"]]}), {"aligned": True})
    engine = Engine(bundle)
    logits = engine.score(sealed["crops"]).logits
    assert found["logit"].tolist() == logits.astype(float).tolist()
    assert found["p_fake"].tolist() == engine.p_fake(logits).tolist()
    tolerance = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * np.abs(sealed["logits"]).max()
    np.testing.assert_allclose(found["logit"], sealed["logits"], atol=tolerance)


def test_files_get_the_answers_of_predict(
    registered: PipelineCheckout,
    model: Any,
    files: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = read_bundle(registered.workspace.bundle)
    found = model.predict(pd.DataFrame({"path": files}), {"prior": 0.01}).to_dict(orient="records")
    command = ["deepfake", "predict", *files, "--json", "--prior", "0.01", "--model", str(bundle.path)]
    monkeypatch.setattr(sys, "argv", command)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        app.main()
    answers = json.loads(capsys.readouterr().out)
    assert [answer["kind"] for answer in answers] == ["image", "image", "video"]
    for row, answer in zip(found, answers, strict=True):
        assert {name: row[name] for name in ("verdict", "p_fake", "kind", "reasons")} == {
            name: answer[name] for name in ("verdict", "p_fake", "kind", "reasons")
        }
        assert row["posterior"] == answer["posterior"]["p_fake"]
        odds = row["logit"] / bundle.contract.temperature
        assert 1 / (1 + np.exp(-odds)) == pytest.approx(row["p_fake"], abs=1e-9)
    assert [row["verdict"] for row in found[:2]] == ["fake", "real"]


def test_bytes_base64_and_lists_give_the_same_rows(model: Any, files: list[str]) -> None:
    expected = model.predict(pd.DataFrame({"path": files}))
    contents = [Path(file).read_bytes() for file in files]
    as_text = [base64.b64encode(content).decode() for content in contents]
    for given in (files, contents, pd.DataFrame({"data": contents}), pd.DataFrame({"data": as_text})):
        pd.testing.assert_frame_equal(model.predict(given), expected)
    table = pd.DataFrame({"path": files, "label": [1, 0, 1]}, index=[7, 8, 9])
    assert model.predict(table).index.tolist() == [7, 8, 9]
    assert expected["p_fake"].dtype == np.float64
    assert set(expected["posterior"]) == {None}


def test_an_explanation_is_the_picture_of_predict(model: Any, files: list[str]) -> None:
    found = model.predict(files, {"explain": True})
    assert all(base64.b64decode(text).startswith(b"\x89PNG") for text in found["explanation"])


def test_a_file_without_an_answer_is_a_row_with_an_error(model: Any, files: list[str]) -> None:
    found = model.predict(pd.DataFrame({"path": [files[0], "none.jpg", None]}))
    assert found["verdict"].tolist() == ["fake", None, None]
    assert found["error"].tolist() == [
        None,
        "bad_input: cannot read 'none.jpg': No such file or directory",
        "bad_input: a row holds float nan",
    ]
    junk = model.predict([b"junk"])
    assert junk["error"][0].startswith("unreadable_video: ")
    assert model.predict(files[:1], {"aligned": True})["error"][0].endswith("64 x 64 pixels, not 256 x 256")


def test_wrong_input_is_an_error_with_a_hint(model: Any, files: list[str]) -> None:
    with pytest.raises(BadInput, match="first column is 'label'"):
        model.predict(pd.DataFrame({"label": [1], "path": files[:1]}))
    with pytest.raises(BadInput, match=r"the prior is 2\.0"):
        model.predict(files, {"prior": 2.0})
    with pytest.raises(BadInput, match="both `aligned` and `explain`"):
        model.predict(files, {"aligned": True, "explain": True})


def test_signature_and_example_are_true(registered: PipelineCheckout, model: Any) -> None:
    assert model.metadata.signature == pyfunc_signature()
    example = model.input_example
    found = model.predict(example, params=model.metadata.saved_input_example_info and {"aligned": True})
    sealed = reference(read_bundle(registered.workspace.bundle))["logits"]
    assert found["logit"][0] == pytest.approx(sealed[0], abs=ABSOLUTE_TOLERANCE)
    assert set(found.columns) == set(model.metadata.signature.outputs.input_names())


# `mlflow` is the import name of all three; it is named apart.
OWN_LIBRARIES = {"deepfake-detector", "mlflow", "mlflow-skinny", "mlflow-tracing"}


def test_the_requirements_name_every_library_that_an_answer_needs() -> None:
    reached = import_closure("deepfake_detector.inference.detector", "deepfake_detector.registry.pyfunc_model")
    libraries = {name.split(".")[0] for path in reached for name in imported_names(path)}
    distributions = packages_distributions()
    needed = {distributions[name][0] for name in libraries - set(sys.stdlib_module_names) if name in distributions}
    lower = {name.lower().replace("_", "-") for name in needed} - OWN_LIBRARIES
    assert lower <= set(PYFUNC_LIBRARIES)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MLflow's calls of pandas
def test_evaluate_runs_over_a_table_of_paths(registered: PipelineCheckout, model: Any, files: list[str]) -> None:
    import mlflow

    models: Any = mlflow.models  # untyped

    def accuracy(predictions: pd.Series, targets: pd.Series) -> float:
        return float((predictions == targets).mean())

    mlflow.set_experiment(EXPERIMENT)
    table = pd.DataFrame({"path": files[:2] * 3, "label": ["fake", "real"] * 3})
    metric = models.make_metric(eval_fn=accuracy, greater_is_better=True)
    result = models.evaluate(URI, table, targets="label", predictions="verdict", extra_metrics=[metric])
    assert result.metrics["accuracy"] == 1.0


def test_models_serve_answers(registered: PipelineCheckout, files: list[str], tmp_path: Path) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": f"deepfake-sqlite:///{registered.workspace.root}/mlflow.db",
    }
    port = 20_000 + os.getpid() % 20_000
    command = [
        *("mlflow", "models", "serve", "-m", URI, "--env-manager", "local"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    with (tmp_path / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 240
        while not answers(port):
            assert process.poll() is None, (tmp_path / "serve.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.3)
        body = {"dataframe_split": {"columns": ["path"], "data": [[file] for file in files]}, "params": {"prior": 0.01}}
        request = Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=120) as answer:
            rows = json.load(answer)["predictions"]
    finally:
        stop(process)
    assert [row["verdict"] for row in rows[:2]] == ["fake", "real"]
    assert [row["kind"] for row in rows] == ["image", "image", "video"]
    assert all(0 < row["posterior"] < 1 for row in rows)


def test_the_example_in_the_docs_runs(checkout: PipelineCheckout, files: list[str]) -> None:
    checkout.register(checkout.candidate(trained_on="photographs"), model_name="deepfake-detector")
    example = Path(__file__).parents[2] / "docs" / "examples" / "mlflow_predict.py"
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 20
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"deepfake-sqlite:///{checkout.workspace.root}/mlflow.db"}
    command = [sys.executable, "-W", "ignore", str(example), *files]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()[1:3]] == ["fake", "real"]


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    import psutil

    for child in psutil.Process(process.pid).children(recursive=True):
        child.terminate()
    process.terminate()
    process.wait(timeout=60)


def test_a_version_of_0_1_stays_usable(checkout: PipelineCheckout, tmp_path: Path) -> None:
    """Its registered model is the Keras network, and it has no tag `keras_uri`."""
    import mlflow.keras
    from mlflow import MlflowClient

    old = checkout.candidate(0.3, 1)
    recorded = record_candidate(old, EXPERIMENT, LINEAGE, load_keras)
    keras_id = recorded.keras_uri.split("/")[-2]
    as_before = RecordedRun(**{**vars(recorded), "model_id": keras_id, "model_uri": recorded.keras_uri})
    registration.register_candidate(old, as_before, LINEAGE, checkout.rules, StubRescorer())
    MlflowClient().delete_model_version_tag("tiny", "1", "keras_uri")
    assert is_settled(read_registry("tiny"), old, checkout.rules)
    checkout.register(checkout.candidate(0.1, 2))
    snapshot = roll_back("2 is worse", False, checkout.rules)
    champion = snapshot.version_of("champion")
    assert champion is not None
    assert champion.number == "1"
    assert export_bundle(champion, tmp_path / "bundle").sha256 == old.bundle.sha256
    crops = np.full((2, 64, 64, 3), 255, np.uint8)
    assert mlflow.keras.load_model(URI).predict(crops, verbose=0).tolist() == [6.0, 6.0]
