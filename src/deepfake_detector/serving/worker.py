"""A detector -> the same detector, which also says how long each step took and how its faces look."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import DetectorError, ToolFailed
from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.scored_face import Judged
from deepfake_detector.inference.verdict import ImageVerdict, VideoVerdict
from deepfake_detector.media.face_alignment import Cut
from deepfake_detector.media.image import encode_png
from deepfake_detector.media.image_stats import look_at
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.parallel import limit_opencv_to_one_thread
from deepfake_detector.serving.errors import error_body
from deepfake_detector.serving.messages import Job, Quality, Report
from deepfake_detector.serving.sandbox import confine, end_with_parent


class WatchedDetector(Detector):
    """Judges one file at a time; `steps_s` and `quality` are those of the last one."""

    steps_s: dict[str, float]  # "find" and "score", in seconds
    quality: Quality | None  # mean over the largest face of each picture or frame

    def forget(self) -> None:
        """Before the next file."""
        self.steps_s, self.quality = {}, None

    def look(self, rgb: NDArray[np.uint8]) -> list[Cut]:
        """See `Detector.look`."""
        with self._timed("find"):
            return super().look(rgb)

    def _score(self, pictures: Sequence[Sequence[Cut]]) -> list[list[Judged]]:
        largest = [cuts[0].pixels for cuts in pictures if cuts and cuts[0].pixels is not None]
        self.quality = _mean_look(largest) if largest else None
        with self._timed("score"):
            return super()._score(pictures)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.steps_s[step] = self.steps_s.get(step, 0.0) + time.perf_counter() - start_s


def _mean_look(crops: Sequence[NDArray[np.uint8]]) -> Quality:
    looks = [look_at(crop) for crop in crops]
    names = ("brightness", "contrast", "sharpness")
    return Quality(**{name: round(float(np.mean([getattr(look, name) for look in looks])), 2) for name in names})


class NamelessFile(type(Path())):  # type: ignore[misc]  # Path itself cannot be subclassed before Python 3.12
    """A file by its number; messages call it "the upload"."""

    name = "the upload"


def main() -> None:
    """Load the model, give up all that judging does not need, and answer until the other side hangs up."""
    bundle, number, parent = sys.argv[1:]
    end_with_parent(int(parent))
    for interrupt in (signal.SIGINT, signal.SIGTERM):  # meant for the HTTP process, which lets us finish first
        signal.signal(interrupt, signal.SIG_IGN)
    with Connection(int(number)) as line:
        detector = _ready(Path(bundle), line)
        if detector is None:
            return
        while (asked := _next(line)) is not None:
            report, body = answer(detector, *asked)
            line.send_bytes(report.model_dump_json().encode())
            line.send_bytes(body)


def answer(detector: WatchedDetector, job: Job, number: int) -> tuple[Report, bytes]:
    """Judge an open file, which is closed afterwards; an error is an answer too."""
    start_s = time.perf_counter()
    detector.forget()
    path = NamelessFile(f"/dev/fd/{number}")
    try:
        verdict = _judge(detector, job, path)
        body = verdict.model_dump_json().encode()
        return _report(verdict, detector, path.stat().st_size, time.perf_counter() - start_s), body
    except DetectorError as error:
        failure = traceback.format_exc() if error.http_status >= 500 else ""
        return Report(status=error.http_status, code=error.code, failure=failure), error_body(error)
    except Exception as error:
        said = ToolFailed(f"{type(error).__name__} while judging the file", "report it with the request's id")
        return Report(status=said.http_status, code=said.code, failure=traceback.format_exc()), error_body(said)
    finally:
        os.close(number)


def _judge(detector: WatchedDetector, job: Job, path: Path) -> ImageVerdict | VideoVerdict:
    if job.kind == "video":
        return detector.video(path, job.explain, job.prior)
    return detector.image(path.read_bytes(), job.explain, job.prior)


def _report(verdict: ImageVerdict | VideoVerdict, detector: WatchedDetector, size: int, total_s: float) -> Report:
    judged = tuple(face.p_fake for face in verdict.faces if face.p_fake is not None)
    known_s = sum(detector.steps_s.values())
    return Report(
        status=200,
        verdict=verdict.verdict,
        p_fake=verdict.p_fake,
        faces=len(verdict.faces),
        faces_p_fake=judged,
        face_px=max((min(face.box_px[2:]) for face in verdict.faces), default=0.0),
        bytes=size,
        worked_s=total_s,
        steps_s={"decode": max(total_s - known_s, 0.0), **detector.steps_s},
        quality=detector.quality,
    )


def _ready(bundle: Path, line: Connection) -> WatchedDetector | None:
    """The detector, after its self-test and confined; or None, and the other side knows why."""
    try:
        import deepfake_detector.media.video  # noqa: F401  (libav, before memory is confined)

        limit_opencv_to_one_thread()
        detector = WatchedDetector(read_bundle(bundle), streams=1)  # tests the engine
        detector.forget()
        detector.image(encode_png(np.zeros((64, 64, 3), np.uint8)))  # and decoder and face finder
        confine()
    except Exception as error:
        line.send_bytes(json.dumps({"failure": f"{type(error).__name__}: {error}"}).encode())
        return None
    line.send_bytes(b"{}")
    return detector


def _next(line: Connection) -> tuple[Job, int] | None:
    try:
        return Job.model_validate_json(line.recv_bytes()), recv_handle(line)
    except (EOFError, OSError):
        return None


if __name__ == "__main__":
    main()
