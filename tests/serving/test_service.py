from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_detector.model.bundle import Bundle

TRAINING = {"tensorflow", "keras", "mlflow", "great_expectations", "sklearn", "dvc", "pandas"}
DECODING = {"cv2", "av", "openvino"}


def run(code: str, *arguments: str) -> list[str]:
    """Run code in a new interpreter and return the lines it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_bentoml_serves_the_application_and_reports_when_it_is_ready(tiny_bundle: Bundle) -> None:
    """BentoML's whole application in one process, without a socket; then the libraries that this process has loaded."""
    code = (
        "import sys, time, warnings; from types import SimpleNamespace; from pathlib import Path\n"
        "warnings.simplefilter('ignore')\n"
        "from deepfake_detector.serving.service import DeepfakeDetector\n"
        "from starlette.testclient import TestClient\n"
        "info = SimpleNamespace(metadata={'name': 'pretrained', 'reason': 'it was requested', 'version': '7'})\n"
        "DeepfakeDetector.inner.model = SimpleNamespace(path_of=lambda _: Path(sys.argv[1]), info=info)\n"
        "with TestClient(DeepfakeDetector.to_asgi(), base_url='http://localhost') as client:\n"
        "    first = client.get('/readyz').status_code\n"
        "    while client.get('/readyz').status_code != 200: time.sleep(0.1)\n"
        "    posted = client.post('/predict_image', files={'image': ('a', b'x')})\n"
        "    print(first, client.get('/livez').status_code, posted.json()['error']['code'])\n"
        "    paths = ('/about', '/docs/', '/docs/docs.js', '/docs/static/swagger-ui-bundle.js', '/ui/')\n"
        "    print([client.get(path).status_code for path in paths])\n"
        "    print('deepfake_model_info' in client.get('/metrics').text, 'google' in client.get('/').text)\n"
        "    routes = client.get('/schema.json').json()['routes']\n"
        "    print(*sorted(route['name'] for route in routes))\n"
        "    print(client.get('/about').json()['version'], client.post('/metrics').json()['error']['code'])\n"
        f"print(sorted({TRAINING | DECODING!r} & set(sys.modules)))"
    )
    assert run(code, str(tiny_bundle.path)) == [
        "503 200 unreadable_image",
        "[200, 200, 200, 200, 200]",
        "True False",
        "predict_image predict_images predict_video submit_job",
        "7 method_not_allowed",
        "[]",
    ]


def test_a_worker_loads_no_training_library(tiny_bundle: Bundle, clip: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from types import SimpleNamespace\n"
        "from deepfake_detector.serving import worker\nfrom deepfake_detector.serving.messages import Job\n"
        "measurements = worker.Measurements()\n"
        "connection = SimpleNamespace(send_bytes=lambda _: None)\n"
        "detector = worker.load_detector(Path(sys.argv[1]), connection, measurements)\n"
        "file = os.open(sys.argv[2], os.O_RDONLY)\n"
        "print(worker.process_job(detector, measurements, Job(kind='video'), file)[0].verdict)\n"
        f"print(sorted({TRAINING | {'bentoml'}!r} & set(sys.modules)))"
    )
    assert run(code, str(tiny_bundle.path), str(clip)) == ["fake", "[]"]
