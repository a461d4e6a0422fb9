"""The registry of deploy/compose.yaml: MLflow with PostgreSQL and artifacts in S3; its clients know neither of them.

The S3 store is moto's server. The command, the variables and the bucket's script are those of deploy/.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from deepfake_detector.registry.export import export_bundle
from deepfake_detector.registry.model_registry import read_registry
from deepfake_detector.tracking.store import open_client
from pipelines import register
from pipelines.stage import run_stage
from tests.behaviour.test_shared_store import BINARIES, postgres, running, wait_for
from tests.deploy.validators import DEPLOY
from tests.pipeline_checkout import PipelineCheckout
from tests.service_process import free_port

__all__ = ["postgres"]  # a fixture
REPOSITORY = Path(__file__).parents[2]
BUCKET = "mlflow"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not BINARIES, reason="no PostgreSQL: apt-get install postgresql"),
]


def is_up(url: str) -> bool:
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """URL of an S3 store on 127.0.0.1 that holds nothing."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with running(command, signal.SIGTERM) as process:
        wait_for(lambda: is_up(f"http://127.0.0.1:{port}/moto-api/"), process)
        yield f"http://127.0.0.1:{port}"


def stores_environment(database: str, s3: str) -> dict[str, str]:
    """What compose.yaml sets for MLflow, with our addresses; nothing else of AWS or MLflow."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    named = compose["services"]["mlflow"]["environment"]
    ours = {
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{BUCKET}/artifacts",
        "MLFLOW_S3_ENDPOINT_URL": s3,
        "MLFLOW_SERVER_ALLOWED_HOSTS": named["MLFLOW_SERVER_ALLOWED_HOSTS"].replace("${MLFLOW_HOST:-localhost}", "x"),
        **CREDENTIALS,
    }
    assert set(ours) == set(named) - {"<<"} | set(compose["x-s3-client"])
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "AWS"))}
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return inherited | quiet | ours


@pytest.fixture(scope="module")
def server(postgres: str, s3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bucket's script, twice, then the command of deploy/mlflow/Dockerfile on another host and port."""
    environment = stores_environment(postgres, s3)
    script = [sys.executable, "-W", "ignore", str(DEPLOY / "mlflow" / "create_bucket.py"), BUCKET]
    for expected in ("was made", "exists"):
        made = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)
        assert expected in made.stdout
    last_line = (DEPLOY / "mlflow" / "Dockerfile").read_text(encoding="utf-8").splitlines()[-1]
    command, port = json.loads(last_line.removeprefix("CMD ")), str(free_port())
    command[command.index("--host") + 1], command[command.index("--port") + 1] = "127.0.0.1", port
    command[0] = str(Path(sys.executable).parent / command[0])
    folder = tmp_path_factory.mktemp("server")
    with running(command, signal.SIGTERM, env=environment, cwd=folder) as process:
        wait_for(lambda: is_up(f"http://127.0.0.1:{port}/health"), process)
        yield f"http://127.0.0.1:{port}"
    assert not list(folder.iterdir())  # neither a database nor artifacts of its own


@pytest.fixture
def shared(checkout: PipelineCheckout, server: str, monkeypatch: pytest.MonkeyPatch) -> PipelineCheckout:
    """A checkout without a local store and without any variable of S3."""
    (checkout.workspace.root / "mlflow.db").unlink()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    for name in [name for name in os.environ if name.startswith("AWS")]:
        monkeypatch.delenv(name)
    return checkout


def stored_keys(s3: str) -> list[str]:
    options = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client: Any = boto3.client("s3", endpoint_url=s3, **options)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def test_a_client_without_keys_stores_and_fetches_a_model(shared: PipelineCheckout, s3: str, tmp_path: Path) -> None:
    shared.write_params(model_name="single", experiment="single")
    candidate = shared.candidate(0.2, 1)
    assert run_stage(register.main) == 0
    graphs = [key for key in stored_keys(s3) if key.endswith("detector.onnx")]
    assert graphs
    assert all(key.startswith("artifacts/") for key in graphs)
    champion = read_registry("single").version_of("champion")
    assert champion is not None
    assert export_bundle(champion, tmp_path / "elsewhere").sha256 == candidate.bundle.sha256
    assert not any((shared.workspace.root / name).exists() for name in ("mlflow.db", "mlartifacts", "mlruns"))


def register_at_once(roots: list[Path]) -> list[str]:
    """Run the stage in several checkouts at the same time; the error code of each, empty if it succeeded."""
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}"}
    command = [sys.executable, "-W", "ignore", "-m", "pipelines.register"]
    processes = [
        subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for root in roots
    ]
    outputs = [process.communicate(timeout=400)[0] for process in processes]
    return ["" if p.returncode == 0 else output for p, output in zip(processes, outputs, strict=True)]


def test_two_machines_that_register_at_once(shared: PipelineCheckout, tmp_path: Path) -> None:
    """Both become versions, the aliases are those of the history, and repeated the stage changes nothing."""
    shared.write_params(model_name="both", experiment="both")
    candidates = [shared.candidate(0.3, 1)]
    first, second = shared.workspace.root, tmp_path / "second"
    shutil.copytree(first, second)
    candidates.append(shared.candidate(0.1, 2))
    assert candidates[0].bundle.sha256 != candidates[1].bundle.sha256
    failures = register_at_once([first, second])
    assert all(not text or "concurrent_change" in text or "repeat the command" in text for text in failures), failures
    assert failures.count("") >= 1
    assert register_at_once([first, second]) == ["", ""]  # what the message of a conflict says to do
    snapshot = read_registry("both")
    digests = {version.tags["bundle_sha256"] for version in snapshot.versions}
    assert digests == {candidate.bundle.sha256 for candidate in candidates}
    assert len(snapshot.versions) == 2
    in_mlflow = {alias: str(n) for alias, n in open_client().get_registered_model("both").aliases.items()}
    assert dict(snapshot.aliases) == in_mlflow
    assert [change.number for change in snapshot.history] == list(range(1, len(snapshot.history) + 1))
    champions = [json.loads((root / "reports/register.json").read_text())["champion"] for root in (first, second)]
    assert champions[0]["version"] == champions[1]["version"] == in_mlflow["champion"]
    assert not open_client().search_registered_models("name = 'both.moving'")
    again = read_registry("both")
    assert register_at_once([first, second]) == ["", ""]
    assert read_registry("both") == again
