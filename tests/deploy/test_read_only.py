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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.image import encode_png
from tests.behaviour.test_rolling_restart import free_port, package, ready, root
from tests.deploy.test_kubernetes import SECRETS, container, render, value_of

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


@contextmanager
def confined(image: Path, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`bentoml serve` with a read-only file system, except `folder`."""
    bentoml = [str(Path(sys.executable).parent / "bentoml"), "serve", str(image), "--host", "127.0.0.1"]
    command = [*UNSHARE, "bash", "-c", SCRIPT, "bash", str(folder), str(image), *bentoml, "--port", str(port)]
    with (image.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=pod_environment(folder), cwd=image, stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + START_S
            while not ready(port):
                assert process.poll() is None, (image.parent / "log").read_text()
                assert time.monotonic() < deadline, (image.parent / "log").read_text()
                time.sleep(0.2)
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.skipif(not can_unshare(), reason="no mount namespaces here: run it as root")
def test_it_starts_answers_and_stops_with_one_writable_folder(
    root: Path, tiny: Any, red_portrait: NDArray[Any], tmp_path: Path
) -> None:
    image, folder, port = tmp_path / "image", tmp_path / "writable", free_port()
    folder.mkdir()
    lay_out(root, package(root, tiny.write_bundle(root / "models" / "bundle"), "1"), image)
    before = sorted(path for path in image.rglob("*"))
    with confined(image, folder, port) as process, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        files = {"image": ("a.png", encode_png(red_portrait))}
        assert client.post("/predict_image", files=files).status_code == 401
        headers = {"Authorization": f"Bearer {SECRETS['token']}", "Host": "detector.example"}
        answer = client.post("/predict_image", files=files, headers=headers, timeout=60)
        assert (answer.status_code, answer.json()["verdict"]) == (200, "fake")
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    assert sorted(path for path in image.rglob("*")) == before
    # BentoML's own folders, and nothing of the picture.
    assert not [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".db"]
