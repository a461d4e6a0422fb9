"""The service with the settings of deploy/kubernetes on a read-only file system with one folder to write in.

`unshare` gives it a mount namespace of its own. That needs root or user namespaces; without them this is skipped.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from numpy.typing import NDArray

from deepfake_detector.media.image import encode_png
from deepfake_detector.serving.jobs_store import JobStore
from deepfake_detector.serving.messages import Job
from deepfake_detector.serving.options import ServingOptions
from tests.behaviour.test_rolling_restart import package, ready, root
from tests.deploy.test_kubernetes import SECRETS, container, render, value_of
from tests.deploy.validators import DEPLOY
from tests.service_process import free_port
from tests.serving.job_services import running_redis, wait_for

__all__ = ["root"]  # a fixture: a copy of the repository
UNSHARE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-current-user"])]
START_S = 120
# The folder is a mount of its own, so it stays writable; a probe shows that the rest is not.
SCRIPT = """
set -e
mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro /
if touch "$2/probe" 2>/dev/null; then echo "the file system is writable"; exit 1; fi
shift 2
exec "$@"
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def can_unshare() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "mount", "--make-rprivate", "/"], capture_output=True, check=False).returncode == 0


def lay_out(repository: Path, tag: str, image: Path) -> None:
    """Copy a bento and its models to where `bentoml containerize` puts them."""
    name, version = tag.split(":")
    shutil.copytree(repository / ".bentoml" / "bentos" / name / version, image)
    shutil.copytree(repository / ".bentoml" / "models", image / "models", dirs_exist_ok=True)


def pod_environment(folder: Path) -> dict[str, str]:
    """The variables that the Deployment sets, with our folder as /tmp; nothing is inherited."""
    described = container(render("base"))
    limits = described["resources"]["limits"]
    values = {variable["name"]: value_of(variable, limits) for variable in described["env"]}
    ours = {name: str(folder / value[5:]) if value.startswith("/tmp") else value for name, value in values.items()}
    return ours | {"TMPDIR": str(folder), "PATH": os.environ["PATH"], "BENTOML_DO_NOT_TRACK": "True"}


def worker_of_jobs(image: Path, folder: Path, redis_url: str) -> tuple[list[str], dict[str, str]]:
    """Command and variables of the pods of deploy/kubernetes/jobs, with our folders and our Redis."""
    (own,) = yaml.safe_load_all((DEPLOY / "kubernetes" / "jobs" / "worker.yaml").read_text(encoding="utf-8"))
    (described,) = own["spec"]["template"]["spec"]["containers"]
    values = {variable["name"]: variable["value"] for variable in described["env"] if "value" in variable}
    ours = {"DEEPFAKE_SERVE_REDIS": redis_url, "BENTO_PATH": str(image), "HOME": str(folder), "TMPDIR": str(folder)}
    values["PYTHONPATH"] = values["PYTHONPATH"].replace("/home/bentoml/bento", str(image))
    python, *arguments = [each.replace("/tmp/", f"{folder}/") for each in described["args"]]
    assert python == "python"
    return [sys.executable, *arguments], values | ours | {"PATH": os.environ["PATH"]}


@contextmanager
def confined(
    image: Path, folder: Path, program: list[str], variables: dict[str, str], is_ready: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program with a read-only file system, except `folder`."""
    command = [*UNSHARE, "bash", "-c", SCRIPT, "bash", str(folder), str(image), *program]
    with (image.parent / "log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, cwd=image, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + START_S
            while not is_ready():
                assert process.poll() is None, (image.parent / "log").read_text()
                assert time.monotonic() < deadline, (image.parent / "log").read_text()
                time.sleep(0.2)
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def check_worker_of_jobs(image: Path, folder: Path, clip: Path) -> None:
    """It analyses a video with the model and the code of the image."""
    if shutil.which("redis-server") is None:
        return
    with running_redis() as redis_url, clip.open("rb") as video:
        store = JobStore(ServingOptions(redis=redis_url))
        program, variables = worker_of_jobs(image, folder, redis_url)
        with confined(image, folder, program, variables, (folder / "alive").exists) as process:
            job_id = store.submit(Job(kind="video", long=True, max_bytes=2**20), video, "a client")
            wait_for(lambda: store.describe(job_id)[0].status == "finished", START_S)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0, (image.parent / "log").read_text()
    (folder / "alive").unlink()


@pytest.mark.skipif(not can_unshare(), reason="no mount namespaces here: run it as root")
def test_it_starts_answers_and_stops_with_one_writable_folder(
    root: Path, tiny: Any, red_portrait: NDArray[Any], clip: Path, tmp_path: Path
) -> None:
    image, folder, port = tmp_path / "image", tmp_path / "writable", free_port()
    folder.mkdir()
    lay_out(root, package(root, tiny.write_bundle(root / "models" / "bundle"), "1"), image)
    before = sorted(path for path in image.rglob("*"))
    bentoml = [str(Path(sys.executable).parent / "bentoml"), "serve", str(image), "--host", "127.0.0.1"]
    program, variables = [*bentoml, "--port", str(port)], pod_environment(folder)
    is_ready = partial(ready, port)
    with (
        confined(image, folder, program, variables, is_ready) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        files = {"image": ("a.png", encode_png(red_portrait))}
        assert client.post("/predict_image", files=files).status_code == 401
        headers = {"Authorization": f"Bearer {SECRETS['token']}", "Host": "detector.example"}
        answer = client.post("/predict_image", files=files, headers=headers, timeout=60)
        assert (answer.status_code, answer.json()["verdict"]) == (200, "fake")
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    check_worker_of_jobs(image, folder, clip)
    assert sorted(path for path in image.rglob("*")) == before
    # BentoML's own folders, and nothing of the picture.
    assert not [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".db"]
