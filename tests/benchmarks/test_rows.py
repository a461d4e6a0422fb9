"""The rows run, on very little; how long anything takes is nowhere asserted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from benchmarks.groups import GROUPS, rows_of
from benchmarks.load import answered, done_at_once, upload
from benchmarks.material import Material, find_data
from benchmarks.timing import Comparison
from deepfake_detector.errors import ToolFailed
from deepfake_detector.paths import Workspace

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return Material(Workspace(REPOSITORY), tmp_path, None, scale=0.004)


def test_every_group_has_its_function() -> None:
    assert all(callable(rows_of(group)) for group in GROUPS)


def test_data_rows(material: Material) -> None:
    rows = rows_of("data")(material)
    found = [next(rows), next(rows)]  # the others start DVC, eight times
    assert [(row.name, row.other) for row in found] == [
        *(("validate", "libjpeg decoding only"), ("validate", "decode and find the face only"))
    ]
    assert all(row.ours_figure > 0 and row.spread[0] <= row.ratio <= row.spread[1] for row in found)


def test_score_rows(material: Material) -> None:
    found: list[Comparison] = list(rows_of("score")(material))
    assert [row.other for row in found if row.name == "score one face"] == [
        *("model.predict", "TensorFlow function", "ONNX Runtime")
    ]
    assert found[-1].ratio > 0


def test_pictures_are_both_kinds_and_the_same_every_time(material: Material, tmp_path: Path) -> None:
    again = Material(material.workspace, tmp_path / "again", None, scale=0.05)
    assert len(set(again.pictures(7))) == 3
    assert again.pictures(3) == again.pictures(7)[:3]
    assert again.crops(2).shape == (2, again.bundle.contract.side_px, again.bundle.contract.side_px, 3)


def test_the_drawn_clip_shows_a_face(material: Material) -> None:
    from deepfake_detector.inference.detector import Detector

    assert Detector(material.bundle).predict_video(material.clip).faces


def test_data_is_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPFAKE_BENCH_DATA", raising=False)
    assert find_data(tmp_path / "checkout") is None
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "shared" / "data" / "real_vs_fake.zip").touch()
    assert find_data(tmp_path / "checkout") == tmp_path / "shared" / "data"
    monkeypatch.setenv("DEEPFAKE_BENCH_DATA", str(tmp_path))
    assert find_data(tmp_path / "checkout") is None


class Counter(BaseHTTPRequestHandler):
    """Answers 429 to every third request, 500 to the path /broken, else 200."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.headers["Content-Type"], body))
        status = 500 if self.path == "/broken" else 429 if len(self.seen) % 3 == 0 else 200
        said = json.dumps({"status": status}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Counter.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Counter) as found:
        thread = Thread(target=found.serve_forever, args=(0.05,))
        thread.start()
        yield found
        found.shutdown()
        thread.join(10)


def test_every_request_is_answered_in_the_end(server: ThreadingHTTPServer) -> None:
    posts = [upload("/predict_image", "image", data) for data in (b"one", b"two")]
    assert answered(server.server_port, posts, clients=4, total=20) == 20
    assert len(Counter.seen) > 20
    kind, body = Counter.seen[0]
    assert kind.startswith("multipart/form-data; boundary=")
    assert b'name="image"' in body
    assert {data for _, body in Counter.seen for data in (b"one", b"two") if b"\r\n\r\n" + data + b"\r\n" in body} == {
        *(b"one", b"two")
    }


def test_an_error_of_the_server_is_reported(server: ThreadingHTTPServer) -> None:
    with pytest.raises(ToolFailed, match="/broken answered 500"):
        answered(server.server_port, [upload("/broken", "image", b"x")], clients=3, total=9)


def test_work_without_a_network_is_shared_out() -> None:
    seen: list[int] = []
    assert done_at_once(seen.append, threads=3, total=10) == 10
    assert sorted(seen) == list(range(10))
