"""Several machines, one store: an MLflow server before PostgreSQL, with its own artifacts; only the address changes."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
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

import pytest

from deepfake_detector.cli.app import app
from deepfake_detector.registry.model_registry import read_shelf
from deepfake_detector.registry.promotion import promote, roll_back
from deepfake_detector.tracking.store import open_client
from pipelines import register
from pipelines.stage import run_stage

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
START_S = 240  # a server takes half a minute on two quiet cores

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not BINARIES, reason="no PostgreSQL: apt-get install postgresql"),
]


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A database of its own, on 127.0.0.1, run by an account that may not do more than that."""
    import psycopg2

    account = {"user": "postgres"} if os.geteuid() == 0 else {}  # PostgreSQL refuses to run as root
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
def shared(road: Any, server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A checkout that knows nothing but the server's address; every test has a registered model of its own."""
    (road.workspace.root / "mlflow.db").unlink()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return road


def registered(road: Any, name: str, *trainings: tuple[float, int]) -> Any:
    road.params(model_name=name, experiment=name)
    for noise, seed in trainings:
        candidate = road.candidate(noise, seed)
        assert run_stage(register.main) == 0
    return candidate


def report(road: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(road.workspace.report("register").read_text(encoding="utf-8"))
    return found


def test_the_stage_works_unchanged_and_nothing_is_kept_here(shared: Any, artifacts: Path) -> None:
    candidate = registered(shared, "stage", (0.3, 1), (0.1, 2))
    root = shared.workspace.root
    found = report(shared)
    assert (found["champion"]["version"], found["aliases"]) == ("2", {"champion": "2", "previous": "1"})
    assert (root / "models/champion/detector.onnx").read_bytes() == candidate.bundle.graph.read_bytes()
    assert not any((root / name).exists() for name in ("mlflow.db", "mlartifacts", "mlruns"))
    assert list(artifacts.rglob("detector.onnx"))
    version = read_shelf("stage").at("champion")
    assert version is not None
    assert version.tags["bundle_uri"].startswith("mlflow-artifacts:/")
    runs = open_client().search_runs([open_client().get_experiment_by_name("stage").experiment_id])
    assert run_stage(register.main) == 0
    assert report(shared) == found
    assert len(open_client().search_runs([runs[0].info.experiment_id])) == len(runs) == 2


def test_another_machine_serves_the_same_champion(shared: Any, tmp_path: Path) -> None:
    """Only the store is shared: the champion's bundle comes over the network, and is the one that was sealed."""
    from deepfake_detector.registry.export import export_bundle

    candidate = registered(shared, "elsewhere", (0.2, 1))
    champion = read_shelf("elsewhere").at("champion")
    assert champion is not None
    assert export_bundle(champion, tmp_path / "elsewhere").sha256 == candidate.bundle.sha256


def test_promotion_rollback_and_the_table_of_runs(shared: Any, monkeypatch: Any, capsys: Any) -> None:
    registered(shared, "hands", (0.3, 1), (0.1, 2))
    rules = replace(shared.rules, model_name="hands")
    assert roll_back("2 flags everything", False, rules).aliases == {"champion": "1"}
    shelf = promote("2", "mended", True, rules, shared.judge())
    assert dict(shelf.aliases) == {"champion": "2", "previous": "1"}
    assert [(m.kind, m.why) for m in shelf.moves[2:]] == [("rollback", "2 flags everything"), ("promote", "mended")]
    assert not open_client().search_registered_models("name = 'hands.moving'")
    monkeypatch.setattr(sys, "argv", ["deepfake", "runs", "--moves"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    said = capsys.readouterr().out
    assert not ended.value.code
    assert "2 champion" in said
    assert "version 1 came back for 2" in said


PROMOTE = (
    "import json, sys, warnings; from types import SimpleNamespace; warnings.simplefilter('ignore')\n"
    "from deepfake_detector.errors import DetectorError\n"
    "from deepfake_detector.registry import by_hand\n"
    "from deepfake_detector.config import Register\n"
    "judge = SimpleNamespace(latency_ms=lambda bundle: 1.0)\n"
    "try:\n"
    "    by_hand.promote(sys.argv[1], 'I am first', True, Register(**json.loads(sys.argv[2])), judge)\n"
    "except DetectorError as error:\n"
    "    print(error.code)\n"
)


def test_two_machines_that_promote_at_once_leave_one_truth(shared: Any) -> None:
    registered(shared, "race", (0.4, 1), (0.1, 2), (0.5, 3))
    rules = json.dumps({**vars(shared.rules), "model_name": "race"})
    command = [sys.executable, "-W", "ignore", "-c", PROMOTE]
    both = [subprocess.Popen([*command, number, rules], stdout=subprocess.PIPE, text=True) for number in "13"]
    said = [process.communicate(timeout=300)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    shelf = read_shelf("race")
    raw = {alias: str(n) for alias, n in open_client().get_registered_model("race").aliases.items()}
    assert dict(shelf.aliases) == raw
    made = [move for move in shelf.moves if move.kind == "promote"]
    assert len(made) == said.count("") >= 1
    assert set(said) <= {"", "overtaken"}
    assert made[0].before == "2"
    assert made[-1].champion == raw["champion"]
    assert [move.number for move in shelf.moves] == list(range(1, len(shelf.moves) + 1))
    assert not open_client().search_registered_models("name = 'race.moving'")
