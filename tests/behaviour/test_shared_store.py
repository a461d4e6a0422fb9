"""Several machines share one MLflow server with PostgreSQL and its own artifacts; only the tracking URI differs."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest

from deepfake_detector.cli import app
from deepfake_detector.inference.engine import ABSOLUTE_TOLERANCE
from deepfake_detector.media.image import encode_png
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.model_registry import read_registry
from deepfake_detector.registry.promotion import promote, roll_back
from deepfake_detector.tracking.store import open_client
from pipelines import register
from pipelines.stage import run_stage
from tests.pipeline_checkout import PipelineCheckout, StubRescorer
from tests.service_process import free_port

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
START_S = 240  # a server takes half a minute on two quiet cores

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not BINARIES, reason="no PostgreSQL: apt-get install postgresql"),
]


@contextmanager
def running(command: list[str], end: signal.Signals, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **how
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, end)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(ready: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while not ready():
        assert process.poll() is None, "the process ended"
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """URI of a new database on 127.0.0.1, run by an unprivileged account."""
    import psycopg2  # type: ignore[import-untyped]

    account: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}  # PostgreSQL refuses to run as root
    folder, port = Path(tempfile.mkdtemp(prefix="deepfake-postgres-")), free_port()
    if account:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data, binaries = folder / "data", BINARIES[-1]
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **account)
    command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]

    def connect(database: str) -> Any:
        return psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname=database)

    def answers() -> bool:
        try:
            connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    try:
        with running(command, signal.SIGINT, cwd=folder, **account) as process:
            wait_for(answers, process)
            with closing(connect("postgres")) as connection:
                connection.autocommit = True
                connection.cursor().execute("CREATE DATABASE mlflow")
            yield f"postgresql+psycopg2://postgres@127.0.0.1:{port}/mlflow"
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def server(postgres: str, artifacts: Path) -> Iterator[str]:
    port = free_port()
    command = [str(Path(sys.executable).parent / "mlflow"), "server", "--backend-store-uri", postgres,
               "--artifacts-destination", str(artifacts), "--host", "127.0.0.1", "--port", str(port),
               "--workers", "2"]  # fmt: skip
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")} | quiet

    def answers() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, ConnectionError, TimeoutError):
            return False

    with running(command, signal.SIGTERM, env=environment, cwd=artifacts.parent) as process:
        wait_for(answers, process)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def shared(checkout: PipelineCheckout, server: str, monkeypatch: pytest.MonkeyPatch) -> PipelineCheckout:
    """A checkout without a local store; every test uses its own registered model on the server."""
    (checkout.workspace.root / "mlflow.db").unlink()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return checkout


def register_models(checkout: PipelineCheckout, name: str, *trainings: tuple[float, int]) -> Candidate:
    """Run the stage for each training (noise, seed); the last candidate."""
    checkout.write_params(model_name=name, experiment=name)
    for noise, seed in trainings:
        candidate = checkout.candidate(noise, seed)
        assert run_stage(register.main) == 0
    return candidate


def read_report(checkout: PipelineCheckout) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(checkout.workspace.report("register").read_text(encoding="utf-8"))
    return found


def test_the_stage_uses_the_server_and_writes_no_local_store(shared: PipelineCheckout, artifacts: Path) -> None:
    candidate = register_models(shared, "stage", (0.3, 1), (0.1, 2))
    root = shared.workspace.root
    found = read_report(shared)
    assert (found["champion"]["version"], found["aliases"]) == ("2", {"champion": "2", "previous": "1"})
    assert (root / "models/champion/detector.onnx").read_bytes() == candidate.bundle.graph.read_bytes()
    assert not any((root / name).exists() for name in ("mlflow.db", "mlartifacts", "mlruns"))
    assert list(artifacts.rglob("detector.onnx"))
    version = read_registry("stage").version_of("champion")
    assert version is not None
    assert version.tags["bundle_uri"].startswith("mlflow-artifacts:/")
    experiment = open_client().get_experiment_by_name("stage")
    assert experiment is not None
    runs = open_client().search_runs([experiment.experiment_id])
    assert run_stage(register.main) == 0
    assert read_report(shared) == found
    assert len(open_client().search_runs([experiment.experiment_id])) == len(runs) == 2


def test_another_machine_downloads_the_champion(shared: PipelineCheckout, tmp_path: Path) -> None:
    """The bundle comes from the server, and its digest is that of the sealed one; the registered model does, too."""
    import mlflow.pyfunc

    from deepfake_detector.registry.export import export_bundle

    candidate = register_models(shared, "elsewhere", (0.2, 1))
    champion = read_registry("elsewhere").version_of("champion")
    assert champion is not None
    assert export_bundle(champion, tmp_path / "elsewhere").sha256 == candidate.bundle.sha256
    with np.load(candidate.bundle.reference) as reference:
        png = encode_png(reference["crops"][0])
        sealed = float(reference["logits"][0])
    found = mlflow.pyfunc.load_model("models:/elsewhere@champion").predict([png], {"aligned": True})
    assert found["logit"][0] == pytest.approx(sealed, abs=ABSOLUTE_TOLERANCE)


def test_promotion_rollback_and_the_table_of_runs(
    shared: PipelineCheckout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register_models(shared, "manual", (0.3, 1), (0.1, 2))
    rules = replace(shared.rules, model_name="manual")
    assert roll_back("2 flags everything", False, rules).aliases == {"champion": "1"}
    snapshot = promote("2", "fixed", True, rules, StubRescorer())
    assert dict(snapshot.aliases) == {"champion": "2", "previous": "1"}
    changes = [(change.kind, change.reason) for change in snapshot.history[2:]]
    assert changes == [("rollback", "2 flags everything"), ("promote", "fixed")]
    assert not open_client().search_registered_models("name = 'manual.moving'")
    monkeypatch.setattr(sys, "argv", ["deepfake", "runs", "--history"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    printed = capsys.readouterr().out
    assert not ended.value.code
    assert "2 champion" in printed
    assert "version 1 was restored in place of 2" in printed


PROMOTE = (
    "import json, sys, warnings; from types import SimpleNamespace; warnings.simplefilter('ignore')\n"
    "from deepfake_detector.errors import DetectorError\n"
    "from deepfake_detector.registry.promotion import promote\n"
    "from deepfake_detector.config import Register\n"
    "rescorer = SimpleNamespace(latency_ms=lambda bundle: 1.0)\n"
    "try:\n"
    "    promote(sys.argv[1], 'mine', True, Register(**json.loads(sys.argv[2])), rescorer)\n"
    "except DetectorError as error:\n"
    "    print(error.code)\n"
)


def test_concurrent_promotions_by_two_machines_leave_one_consistent_history(shared: PipelineCheckout) -> None:
    register_models(shared, "race", (0.4, 1), (0.1, 2), (0.5, 3))
    rules = json.dumps({**vars(shared.rules), "model_name": "race"})
    command = [sys.executable, "-W", "ignore", "-c", PROMOTE]
    both = [subprocess.Popen([*command, number, rules], stdout=subprocess.PIPE, text=True) for number in "13"]
    errors = [process.communicate(timeout=300)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    snapshot = read_registry("race")
    in_mlflow = {alias: str(n) for alias, n in open_client().get_registered_model("race").aliases.items()}
    assert dict(snapshot.aliases) == in_mlflow
    made = [change for change in snapshot.history if change.kind == "promote"]
    assert len(made) == errors.count("") >= 1
    assert set(errors) <= {"", "concurrent_change"}
    assert made[0].before == "2"
    assert made[-1].champion == in_mlflow["champion"]
    assert [change.number for change in snapshot.history] == list(range(1, len(snapshot.history) + 1))
    assert not open_client().search_registered_models("name = 'race.moving'")
