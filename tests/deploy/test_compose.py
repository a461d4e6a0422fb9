"""deploy/compose.yaml, read by the parser of docker compose: what it starts, publishes and limits. Nothing starts."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.serving import jobs_command
from deepfake_detector.serving.dispatcher import RESPONSE_TIMEOUT_S
from deepfake_detector.serving.options import PREFIX, read_options
from deepfake_detector.serving.sandbox import JOB_BYTES
from deepfake_detector.serving.upload import MIB, UPLOAD_TIMEOUT_S
from deepfake_detector.serving.worker_process import START_TIMEOUT_S
from tests.deploy.validators import DEPLOY, find_program, read_yaml

EXAMPLE = (DEPLOY / ".env.example").read_text(encoding="utf-8")
REQUIRED = re.findall(r"^(\w+)=$", EXAMPLE, re.MULTILINE)
PROCESS_BYTES = 2**28
MAX_REDIS_BYTES = 2560 * MIB
BENTOML_S = 20  # what the service adds to both for BentoML
SIZES = {"s": 1, "m": 60}


def config(env_file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`docker compose config`; the parser exits with 0 after errors, too: only standard error tells."""
    command = [find_program("docker-compose"), "-f", str(DEPLOY / "compose.yaml"), "--env-file", str(env_file)]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run([*command, "config", *options], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The resolved file, with a value for each required variable."""
    env_file = tmp_path_factory.mktemp("compose") / ".env"
    values = {name: f"value-of-{name.lower()}" for name in REQUIRED} | {"DETECTOR_IMAGE": "detector:tag"}
    env_file.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
    done = config(env_file, "--format", "json")
    assert done.stderr == ""
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def seconds(duration: str) -> int:
    return sum(int(number) * SIZES[unit] for number, unit in re.findall(r"(\d+)([ms])", duration))


def test_the_parser_reports_what_is_missing(tmp_path: Path) -> None:
    """Nobody starts it with a password from the repository."""
    for missing in REQUIRED:
        values = "".join(f"{name}={'' if name == missing else 'x'}\n" for name in REQUIRED)
        (tmp_path / ".env").write_text(values, encoding="utf-8")
        assert f"set {missing} in .env" in config(tmp_path / ".env").stderr


def test_the_example_explains_every_variable_and_no_other() -> None:
    used = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    explained = set(re.findall(r"^#?(\w+)=", EXAMPLE, re.MULTILINE))
    assert explained | {"MLFLOW_IMAGE_TAG"} == used
    assert len(REQUIRED) >= 5


def test_all_parts_are_there_and_report_their_health(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {
        "detector", "jobs", "redis", "mlflow", "bucket", "postgres", "s3", "prometheus", "grafana",
    }  # fmt: skip
    for name, service in services.items():
        assert not service["image"].endswith(":latest")
        assert ":" in service["image"]
        assert "no-new-privileges:true" in service["security_opt"]
        if name != "bucket":  # it ends
            assert service["healthcheck"]["test"][0] == "CMD"
            assert service["restart"] == "unless-stopped"
    conditions = {name: value["condition"] for name, value in services["mlflow"]["depends_on"].items()}
    assert conditions == {"postgres": "service_healthy", "bucket": "service_completed_successfully"}
    assert services["bucket"]["depends_on"]["s3"]["condition"] == "service_healthy"


def test_ports_are_published_on_the_loopback_interface_only(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert set(published) == {"detector", "mlflow", "prometheus", "grafana"}
    ports = [port for each in published.values() for port in each]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert len({port["published"] for port in ports}) == len(ports)


def test_only_what_publishes_a_port_reaches_other_networks(compose: dict[str, Any]) -> None:
    internal = {name for name, network in compose["networks"].items() if network.get("internal")}
    for service in compose["services"].values():
        assert set(service["networks"]) <= internal or "ports" in service
    assert not set(compose["services"]["detector"]["networks"]) & set(compose["services"]["postgres"]["networks"])


def test_mounted_files_exist(compose: dict[str, Any]) -> None:
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    sources = [Path(mount["source"]) for mount in mounts if mount["type"] == "bind"]
    assert len(sources) == 4
    for source in sources:
        assert source.exists(), source
    assert all(mount["read_only"] for mount in mounts if mount["type"] == "bind")


def test_the_service_is_confined_and_has_what_it_needs(compose: dict[str, Any]) -> None:
    detector = compose["services"]["detector"]
    assert (detector["read_only"], detector["cap_drop"]) == (True, ["ALL"])
    assert [mount["target"] for mount in detector["volumes"]] == ["/tmp"]
    environment = detector["environment"]
    assert environment["BENTOML_HOME"].startswith("/tmp/")  # the image's own is read-only
    options = read_options({name: value for name, value in environment.items() if name.startswith(PREFIX)})
    assert options.token is not None
    limits = detector["deploy"]["resources"]["limits"]
    assert int(float(limits["cpus"])) == options.workers
    assert int(limits["memory"]) >= options.workers * JOB_BYTES + PROCESS_BYTES * (options.workers + options.spares + 1)
    assert seconds(detector["stop_grace_period"]) >= UPLOAD_TIMEOUT_S + RESPONSE_TIMEOUT_S + BENTOML_S
    assert seconds(detector["healthcheck"]["start_period"]) > START_TIMEOUT_S
    assert options.client_connections == options.connections  # all come from Docker's gateway


def test_prometheus_sends_the_token_that_the_service_asks_for(compose: dict[str, Any]) -> None:
    secret = compose["services"]["prometheus"]["secrets"][0]
    assert compose["secrets"][secret["source"]]["environment"] == "DEEPFAKE_SERVE_TOKEN"
    job = read_yaml(DEPLOY / "prometheus" / "prometheus.yml")["scrape_configs"][0]
    assert job["authorization"]["credentials_file"] == secret["target"]
    assert job["static_configs"] == [{"targets": ["detector:3000"]}]
    assert "detector" in compose["services"]["detector"]["environment"]["DEEPFAKE_SERVE_HOSTS"].split(",")
    grafana = compose["services"]["grafana"]["volumes"]
    folder = read_yaml(DEPLOY / "grafana" / "dashboards.yaml")["providers"][0]["options"]["path"]
    assert any(mount["target"].startswith(f"{folder}/") for mount in grafana)


def test_the_registry_gets_its_stores_from_the_environment(compose: dict[str, Any]) -> None:
    """`deploy/mlflow/Dockerfile` starts `mlflow server` without any store or password among its arguments."""
    mlflow, s3 = compose["services"]["mlflow"]["environment"], compose["services"]["s3"]["environment"]
    postgres = compose["services"]["postgres"]["environment"]
    user, password, database = (postgres[f"POSTGRES_{name}"] for name in ("USER", "PASSWORD", "DB"))
    assert mlflow["MLFLOW_BACKEND_STORE_URI"] == f"postgresql+psycopg2://{user}:{password}@postgres/{database}"
    assert mlflow["MLFLOW_ARTIFACTS_DESTINATION"].startswith(f"s3://{compose['services']['bucket']['command'][-1]}/")
    assert mlflow["MLFLOW_S3_ENDPOINT_URL"] == f"http://s3{s3['VGW_PORT']}"
    assert mlflow["AWS_SECRET_ACCESS_KEY"] == s3["ROOT_SECRET_ACCESS_KEY"]
    command = (DEPLOY / "mlflow" / "Dockerfile").read_text(encoding="utf-8").splitlines()[-1]
    assert json.loads(command.removeprefix("CMD "))[:2] == ["mlflow", "server"]
    assert "uri" not in command


def test_the_worker_of_jobs_reaches_redis_and_nothing_else(compose: dict[str, Any]) -> None:
    worker, redis, detector = (compose["services"][name] for name in ("jobs", "redis", "detector"))
    assert set(worker["networks"]) == set(redis["networks"]) == {"jobs"}
    assert compose["networks"]["jobs"]["internal"] is True
    assert "jobs" in detector["networks"]
    assert worker["image"] == detector["image"]
    assert (worker["read_only"], worker["cap_drop"]) == (True, ["ALL"])
    for service in (worker, detector):
        options = read_options({k: v for k, v in service["environment"].items() if k.startswith(PREFIX)})
        assert options.redis is not None
        password = redis["environment"]["REDISCLI_AUTH"]
        assert options.redis.get_secret_value() == f"redis://:{password}@redis:6379/0"
        store_bytes = options.job_store_mib * MIB
        assert store_bytes < MAX_REDIS_BYTES < int(redis["deploy"]["resources"]["limits"]["memory"])
        folder_mib = int(re.findall(r"size=(\d+)m", worker["tmpfs"][0])[0])
        assert options.job_upload_mib + 50 < folder_mib
    limits = worker["deploy"]["resources"]["limits"]  # a tmpfs is memory
    assert int(limits["memory"]) >= JOB_BYTES + 2 * PROCESS_BYTES + folder_mib * MIB
    assert worker["command"][:3] == ["python", "-m", jobs_command.__name__]
    assert f"--maxmemory {MAX_REDIS_BYTES // MIB}mb" in redis["command"][-1]
    assert redis["environment"]["REDISCLI_AUTH"] not in redis["command"][-1]
