"""The whole loop once: answers of the service -> feedback -> review -> export -> `dvc repro` -> gate -> promotion."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.media.image import decode_image, encode_png
from tests.pipeline_checkout import PIPELINE_FILES, copy_repository

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

KEYS = {"anna": "key-of-anna-key-of-anna", "ben": "key-of-ben-key-of-ben-"}
PICTURES = 12
CLI = (sys.executable, "-c", "from deepfake_detector.cli.app import main; main()")
START_S = 120


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Checkout:
    """A copy of the repository; commands run in it with its own code."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root, self.feedback, self.log = root, root / "feedback", root / "predictions.jsonl"
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "BENTOML", "KERAS", "DVC", "TF_"))
        }
        self.environment = inherited | {
            "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}",
            "HOME": str(home),
        }

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=1100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def deepfake(self, *arguments: str) -> str:
        return self.run(*CLI, *arguments)

    def report(self, stage: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.root / "reports" / f"{stage}.json").read_text(encoding="utf-8"))
        return content

    def add_sources(self, entries: str) -> None:
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
        params["download"]["sources"] += yaml.safe_load(entries)
        params["evaluate"]["drift_report"] = "drift-2026-11-29-1a2b3c4d"
        path.write_text(yaml.safe_dump(params), encoding="utf-8")

    @contextmanager
    def served(self) -> Iterator[str]:
        """The champion as a service that takes feedback, on a port of 127.0.0.1."""
        port = free_port()
        settings = {
            "DEEPFAKE_SERVE_KEYS": ",".join(f"{name}={key}" for name, key in KEYS.items()),
            "DEEPFAKE_SERVE_PREDICTION_LOG": str(self.log),
            "DEEPFAKE_SERVE_FEEDBACK": str(self.feedback),
        }
        command = [*CLI, "serve", "--model", "champion", "--port", str(port)]
        process = subprocess.Popen(
            [*command, "--workers", "1"], cwd=self.root, env=self.environment | settings,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A pipeline that has run once, without a minimum accuracy."""
    root = tmp_path_factory.mktemp("loop") / "checkout"
    copy_repository(root, (".dvcignore", *PIPELINE_FILES), images=(48, 20, 20), epochs=1)
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    # The gate may not refuse a network of one epoch for chance: the limits of losses are switched off, floors too.
    params["register"] |= dict.fromkeys(
        ("max_auc_loss", "max_accuracy_loss", "max_slice_loss", "max_coverage_loss", "max_left_out_auc_loss"), 1.0
    )
    params["validate"]["severity"] |= {"encoding": "warn", "metadata": "warn"}
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    checkout = Checkout(root, tmp_path_factory.mktemp("home"))
    checkout.run("dvc", "config", "--local", "core.no_scm", "true")
    checkout.run("dvc", "repro", "register")
    return checkout


def new_pictures() -> dict[bytes, str]:
    """Portraits that the pipeline has not seen -> what they are."""
    drawn = [(label, number) for number in range(PICTURES // 2) for label in ("real", "fake")]
    return {encode_png(decode_image(draw_sample(99, "train", label, i))): label for label, i in drawn}


def wait_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the service is not ready")


def give_feedback(address: str, pictures: dict[bytes, str]) -> None:
    """Have each picture answered, and say what it is: by two reporters in turn; the first one is contested."""
    with httpx.Client(base_url=address, timeout=60) as client:
        wait_ready(client)
        for i, (picture, label) in enumerate(pictures.items()):
            key = {"Authorization": f"Bearer {list(KEYS.values())[i % 2]}"}
            answer = client.post("/predict_image", headers=key, files={"image": ("a", picture)})
            assert answer.status_code == 200, answer.text
            fields = {"request_id": answer.headers["x-request-id"], "label": label}
            kept = client.post(
                "/feedback", headers=key, data=fields | {"keep": "true"}, files={"picture": ("a", picture)}
            )
            assert kept.status_code == 201, kept.text
        contested = {"request_id": fields["request_id"], "label": "real" if label == "fake" else "fake"}
        other = {"Authorization": f"Bearer {KEYS['anna']}"}
        assert client.post("/feedback", headers=other, json=contested).status_code == 201


def test_corrections_become_a_model_that_names_them(checkout: Checkout, tmp_path: Path) -> None:
    first = checkout.report("register")["champion"]
    assert first["version"] == "1"
    with checkout.served() as address:
        give_feedback(address, new_pictures())

    folder = ("--folder", str(checkout.feedback))
    cases = json.loads(checkout.deepfake("feedback", "list", "--json", *folder))
    assert [case["status"] for case in cases].count("conflict") == 1
    assert len(cases) == PICTURES
    pending = [case["case"] for case in cases if case["status"] == "pending"]
    checkout.deepfake("feedback", "accept", *pending, *folder)
    printed = checkout.deepfake("feedback", "export", str(tmp_path / "feedback.zip"), "--held-out", "0.4", *folder)
    exported = json.loads((tmp_path / "feedback.json").read_text(encoding="utf-8"))
    assert len(exported["train"]) + len(exported["held_out"]) + len(exported["left_out"]) == PICTURES - 1
    assert len(exported["train"]) >= 2
    assert len(exported["held_out"]) >= 2

    checkout.add_sources(printed.partition("`dvc repro`:\n")[2])
    checkout.run("dvc", "repro", "register")
    report = checkout.report("register")
    assert report["decision"]["promoted"], report["decision"]["reasons"]
    assert (report["champion"]["version"], report["aliases"]["previous"]) == ("2", "1")
    findings = {finding["code"]: finding for finding in report["decision"]["findings"]}
    assert findings["feedback_accuracy"]["numbers"]["pictures"] == len(exported["held_out"])
    assert (
        f"on the {findings['auc']['numbers']['pictures']:.0f} other test pictures"
        in findings["feedback_accuracy"]["text"]
    )

    origin = json.loads(checkout.deepfake("about", "--model", "champion", "--json"))["origin"]
    digests = {source["name"]: source["sha256"] for source in checkout.report("download")["sources"]}
    assert origin["feedback"] == {name: digests[name] for name in ("feedback", "feedback_held_out")}
    assert origin["data"]["feedback"] == digests["feedback"]
    assert origin["drift_report"] == "drift-2026-11-29-1a2b3c4d"
    card = (checkout.root / "models" / "champion" / "card.md").read_text(encoding="utf-8")
    assert "pictures that users sent and a person accepted: `feedback`" in card
    assert "drift-2026-11-29-1a2b3c4d" in card
