from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle

# starlette's test client warns about httpx, BentoML's telemetry about its own dependencies: neither is ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


@pytest.fixture(scope="module")
def client(tiny_bundle: Bundle) -> Iterator[object]:
    """The whole service in this process: BentoML's application with our middleware, without a socket."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient

        from deepfake_detector.serving.service import DeepfakeDetector

        with pytest.MonkeyPatch.context() as patch:
            info = SimpleNamespace(metadata={"kind": "pretrained", "said": "the model that ships with the code"})
            stored = SimpleNamespace(path_of=lambda _: tiny_bundle.path, info=info)
            patch.setattr(DeepfakeDetector.inner, "model", stored)
            with TestClient(DeepfakeDetector.to_asgi(), raise_server_exceptions=False) as found:
                yield found


def post(client: object, route: str, name: str, data: bytes) -> tuple[int, dict]:
    field = "image" if "image" in route else "video"
    answer = client.post(route, files={field: (name, data)})  # type: ignore[attr-defined]
    return answer.status_code, answer.json()


def test_an_image_is_answered_as_the_contract_says(client: object, red_portrait: NDArray[np.uint8]) -> None:
    status, answer = post(client, "/predict_image", "a.png", encode_png(red_portrait))
    assert status == 200
    assert (answer["schema_version"], answer["verdict"], answer["evidence"]) == (3, "fake", "very strong")
    assert answer["p_fake"] == answer["faces"][0]["p_fake"] > 0.9
    keys = {"schema_version", "kind", "verdict", "p_fake", "evidence", "kind_of_fake", "reasons", "faces", "model"}
    keys |= {"posterior", "content_credentials"}
    assert set(answer) == keys
    assert answer["kind_of_fake"] == answer["faces"][0]["kind_of_fake"]
    assert answer["kind_of_fake"]["swap"] == pytest.approx(0.75, abs=0.01)  # as the tiny graph has it


def test_a_video_is_answered_with_timeline_and_tracks(client: object, clip: Path) -> None:
    status, answer = post(client, "/predict_video", "a.mp4", clip.read_bytes())
    assert (status, answer["verdict"], len(answer["timeline"]), len(answer["tracks"])) == (200, "fake", 16, 2)
    assert set(answer["timeline"][0]) == {"t_s", "p_fake", "faces"}


def test_a_picture_without_a_face_is_an_answer_not_an_error(client: object) -> None:
    status, answer = post(client, "/predict_image", "a.png", encode_png(np.full((99, 99, 3), 99, np.uint8)))
    assert (status, answer["verdict"], answer["p_fake"], answer["evidence"]) == (200, "inconclusive", None, None)


@pytest.mark.parametrize(
    ("route", "name", "data", "status"),
    [
        ("/predict_image", "a.jpg", b"\x00\x01junk" * 100, 415),
        ("/predict_image", "a.jpg", b"", 415),
        ("/predict_image", "a.jpg", b"\xff\xd8\xff\xe0 cut short", 415),
        ("/predict_video", "text.mp4", b"hello, this is text", 415),
        ("/predict_video", "a.mp4", b"", 415),
        ("/predict_image", "../../etc/passwd", b"x", 415),
        ("/predict_image", "a" * 250, b"x", 422),
    ],
)
def test_bad_files_get_a_clear_4xx(client: object, route: str, name: str, data: bytes, status: int) -> None:
    found, answer = post(client, route, name, data)
    assert found == status
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"code", "message", "hint"}
    assert "tmp" not in answer["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "kwargs", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", "/predict_image", {}, 405),
        ("POST", "/predict_image", {}, 415),
        ("POST", "/predict_image", {"json": {"image": "http://127.0.0.1/"}}, 415),
        ("POST", "/predict_image", {"files": {"image": (None, b"http://127.0.0.1/")}}, 422),
        ("POST", "/predict_video", {"files": {"image": ("a.mp4", b"x")}}, 422),
    ],
)
def test_every_error_has_the_one_shape(client: object, method: str, path: str, kwargs: dict, status: int) -> None:
    answer = client.request(method, path, **kwargs)  # type: ignore[attr-defined]
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"code", "message", "hint"}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("body", [b"", b"{{{", b"--x"])
def test_about_answers_whatever_is_sent_along(client: object, method: str, body: bytes, tiny_bundle: Bundle) -> None:
    for kind in ("application/json", "multipart/form-data; boundary=x", "application/vnd.bentoml+pickle"):
        answer = client.request(method, "/about", content=body, headers={"content-type": kind})  # type: ignore[attr-defined]
        assert answer.status_code == 200
        found = answer.json()
        assert (found["sha256"], found["name"], found["trained_on"]) == (
            tiny_bundle.sha256, "pretrained", "photographs"
        )  # fmt: skip
        assert found["reason"] == "the model that ships with the code"


def test_a_failure_inside_is_a_500_that_gives_nothing_away(
    client: object, red_portrait: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepfake_detector.scoring.detector import Detector

    def broken(*_: object) -> None:
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr(Detector, "judge", broken)
    status, answer = post(client, "/predict_image", "a.png", encode_png(red_portrait))
    assert (status, answer["error"]["code"]) == (500, "tool_failed")
    assert "secret" not in str(answer)


def test_the_served_process_loads_nothing_of_the_training(tiny_bundle: Bundle, clip: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom types import SimpleNamespace\n"
        "from deepfake_detector.serving.service import DeepfakeDetector\n"
        "DeepfakeDetector.inner.model = SimpleNamespace(path_of=lambda _: Path(sys.argv[1]))\n"
        "service = DeepfakeDetector.inner()\n"
        "print(service.detector.video(Path(sys.argv[2])).verdict)\n"
        "print(sorted({'tensorflow', 'keras', 'mlflow', 'great_expectations', 'sklearn', 'dvc'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tiny_bundle.path), str(clip)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.stdout.splitlines() == ["fake", "[]"], done.stderr
