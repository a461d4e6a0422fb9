"""BentoML's application on a socket, and its own client: no request gets past the middleware to BentoML's parser."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle
from tests.service_process import running_service

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "bentoml_client.py"
TOKEN, MIB = "a-token-of-a-few-letters", 2**20
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def address(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of BentoML's application, which needs TOKEN and has a worker that is ready."""
    log = tmp_path_factory.mktemp("service") / "log.txt"
    variables = {"DEEPFAKE_SERVE_TOKEN": TOKEN, "DEEPFAKE_SERVE_WORKERS": "1"}
    with running_service(Path(__file__).with_name("serve_bento.py"), tiny_bundle.path, log, variables) as url:
        yield url


@pytest.fixture(scope="module")
def picture(red_portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "näive.png"
    path.write_bytes(encode_png(red_portrait))
    return path


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # BentoML imports what pathspec deprecates
        from bentoml import SyncHTTPClient
    with SyncHTTPClient(address, token=TOKEN) as client:
        yield client
    client._temp_dir.cleanup()  # close() leaves it to the garbage collector, which warns


@pytest.fixture
def bait() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and the paths that anybody requested from it."""
    requested: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/secret.png", requested
        server.shutdown()


def exchange(address: str, request: bytes) -> bytes:
    """Send bytes and return what comes back until the service closes the connection."""
    url = httpx.URL(address)
    with socket.create_connection((url.host, url.port or 80), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def error_of(response: bytes) -> tuple[str, str]:
    """Status and code of an answer in the error shape."""
    head, _, body = response.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert set(error) == {"code", "message", "hint"}
    return head.split()[1].decode(), error["code"]


def test_the_example_of_the_documentation_runs(address: str, picture: Path, clip: Path) -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 20
    command = [sys.executable, str(EXAMPLE), address, str(picture), str(clip)]
    variables = os.environ | {"DEEPFAKE_SERVE_TOKEN": TOKEN}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=variables)
    assert done.returncode == 0, done.stderr
    image, video, *batch = done.stdout.splitlines()
    assert (image.split()[:2], video.split()[:2]) == (["image:", "fake"], ["video:", "fake"])
    assert "'prior': 0.001" in image
    assert batch[0] == "batch: fake"
    assert "image" in batch[1]  # a video is none


def test_serving_md_shows_the_example() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") in (EXAMPLE.parents[1] / "serving.md").read_text(encoding="utf-8")


def test_the_client_gets_the_same_answer_as_curl(client: Any, address: str, picture: Path) -> None:
    posted = httpx.post(
        f"{address}/predict_image?explain=true&prior=0.25",
        headers=AUTHORIZED,
        files={"image": picture.read_bytes()},
        timeout=60,
    )
    assert client.predict_image(image=picture, explain=True, prior=0.25) == posted.json()
    assert client.predict_image(picture, prior=None)["posterior"] is None


def test_the_client_gets_verdicts_and_errors_of_a_batch_in_order(client: Any, picture: Path, clip: Path) -> None:
    answers = client.predict_images(images=[picture, clip, picture])["answers"]
    assert answers[0] == answers[2] == client.predict_image(image=picture)
    assert set(answers[1]["error"]) == {"code", "message", "hint"}


def test_the_client_sees_our_errors(client: Any, picture: Path) -> None:
    from bentoml.exceptions import BentoMLException

    for method, arguments, code in (
        ("predict_image", {"image": picture, "prior": 2}, "bad_question"),
        ("predict_video", {"video": picture}, "unreadable_video"),
        ("predict_images", {"images": [picture] * 17}, "bad_upload"),
    ):
        with pytest.raises(BentoMLException, match=code):
            client.call(method, **arguments)


def test_a_url_in_a_file_field_is_refused_and_never_fetched(
    client: Any, address: str, bait: tuple[str, list[str]]
) -> None:
    from bentoml.exceptions import BentoMLException

    url, requested = bait
    for method, arguments in (
        ("predict_image", {"image": url}),
        ("predict_video", {"video": url}),
        ("predict_images", {"images": [url]}),
    ):
        with pytest.raises(BentoMLException):
            client.call(method, **arguments)
    for field in ("image", "video", "images"):
        bodies: list[dict[str, Any]] = [
            {"json": {field: url}},
            {"data": {field: url}},
            {"files": {field: (None, url.encode())}},
            {"files": {field: ("a.png", url.encode())}},
            {"content": url.encode(), "headers": {"Content-Type": "text/plain"}},
            {"content": b"x", "headers": {"Content-Type": "application/vnd.bentoml+pickle"}},
        ]
        for path in (f"/predict_{field}", f"//predict_{field}", f"/predict_{field}/"):
            for body in bodies:
                headers = AUTHORIZED | body.get("headers", {})
                answer = httpx.post(address + path, **body | {"headers": headers}, follow_redirects=True)
                assert answer.status_code in (404, 415, 422), (path, body)
                assert set(answer.json()["error"]) == {"code", "message", "hint"}
    assert requested == []


@pytest.mark.parametrize("path", ["/predict_image", "/predict_video", "/predict_images"])
def test_300_mib_are_refused_by_their_declared_length(address: str, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n"
    head += f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {300 * MIB}\r\n\r\n"
    start_s = time.perf_counter()
    assert error_of(exchange(address, head.encode())) == ("413", "too_large")
    assert time.perf_counter() - start_s < 2  # 0.001 s on an idle machine


def test_300_mib_without_a_declared_length_are_cut_off(address: str) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(300):
            yield bytes(MIB)

    headers = AUTHORIZED | {"Content-Type": "multipart/form-data; boundary=b"}
    start_s = time.perf_counter()
    try:
        status = httpx.post(f"{address}/predict_image", content=endless(), headers=headers, timeout=30).status_code
    except httpx.WriteError:  # the service closed the connection while we were sending
        status = 413
    assert (status, time.perf_counter() - start_s < 15) == (413, True)


def test_schema_json_needs_the_token_and_names_the_methods(address: str) -> None:
    assert httpx.get(f"{address}/schema.json").status_code == 401
    routes = httpx.get(f"{address}/schema.json", headers=AUTHORIZED).json()["routes"]
    assert {route["name"] for route in routes} == {"predict_image", "predict_images", "predict_video", "submit_job"}
    assert {route["route"] for route in routes} >= {"/jobs", "/predict_video"}
    for route in routes:
        assert list(route["input"]["properties"])[1:] == ["explain", "prior", "location"]
        assert route["input"]["required"] == [next(iter(route["input"]["properties"]))]


def test_docs_json_is_the_openapi_document(address: str) -> None:
    document = httpx.get(f"{address}/docs.json").json()
    assert document == httpx.get(f"{address}/openapi.json").json()
    assert "/predict_image" in document["paths"]


def test_a_malformed_request_is_answered_in_the_error_shape(address: str) -> None:
    for request in (
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ):
        assert error_of(exchange(address, request)) == ("400", "bad_request")


def test_a_whole_address_in_the_request_line_is_accepted(address: str) -> None:
    for target in (f"{address}/about", "HTTPS://LOCALHOST/about"):
        answer = exchange(address, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200 ")
    for target in ("*", f"{address}/nothing", "nothing"):
        request = f"OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        request += "Connection: close\r\n\r\n"
        assert error_of(exchange(address, request.encode())) == ("404", "not_found")


def test_health_checks_need_no_token_and_are_not_counted(address: str) -> None:
    for path in ("/livez", "/healthz", "/readyz"):
        assert httpx.get(address + path).status_code == 200
    metrics = httpx.get(f"{address}/metrics", headers=AUTHORIZED).text
    assert not [line for line in metrics.splitlines() if "readyz" in line or 'route="other",status="200"' in line]
