"""Jobs with an open file each -> reports and answers: the program of a worker process; see `confined_worker`."""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path

import numpy as np

from deepfake_detector.errors import DetectorError, ToolFailed
from deepfake_detector.inference.detector import Detector, Step
from deepfake_detector.inference.verdict import ImageVerdict, VideoVerdict
from deepfake_detector.media.image import encode_png
from deepfake_detector.media.image_stats import ImageStats
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.parallel import limit_opencv_to_one_thread
from deepfake_detector.serving.errors import TooCostly, error_body
from deepfake_detector.serving.long_video import ProgressReporter
from deepfake_detector.serving.messages import ImageQuality, Job, JobReport
from deepfake_detector.serving.sandbox import RestrictedFiles, confine, unrestricted_files

OUT_OF_MEMORY = (
    "bad_alloc",
    "Insufficient memory",
    "Cannot allocate memory",
)  # in errors of OpenCV, OpenVINO and libav


class Measurements:
    """Observes a detector that works on one file at a time: step times and crop quality of the current file.

    Args:
        progress: of a long video, for the parent process; None: nobody asks.
    """

    def __init__(self, progress: ProgressReporter | None = None) -> None:
        self.progress = progress
        self.reset()

    def reset(self) -> None:
        """Start with the next file."""
        self.steps_s: dict[Step, float] = {}
        self.quality: ImageQuality | None = None  # mean over the largest face of each picture or frame

    def step_done(self, step: Step, seconds: float) -> None:
        """See `DetectorObserver`."""
        self.steps_s[step] = self.steps_s.get(step, 0.0) + seconds
        if step == "find" and self.progress is not None:
            self.progress.frame_done()

    def crops_measured(self, stats: Sequence[ImageStats]) -> None:
        """See `DetectorObserver`."""
        means = {name: float(np.mean([getattr(each, name) for each in stats])) for name in ImageQuality.model_fields}
        self.quality = ImageQuality(**{name: round(mean, 2) for name, mean in means.items()})


class UploadPath(type(Path())):  # type: ignore[misc]  # Path itself cannot be subclassed before Python 3.12
    """The path of an open descriptor; error messages call it "the upload"."""

    name = "the upload"


def main(bundle: Path, connection_fd: int, restricted: RestrictedFiles) -> None:
    """Load the model, give up what it needed, and process jobs until the HTTP process closes the connection.

    Args:
        bundle: folder of the model.
        connection_fd: one end of a socket pair.
        restricted: what the sandbox denies already.
    """
    for interrupt in (signal.SIGINT, signal.SIGTERM):  # the HTTP process gets them, too, and lets jobs finish
        signal.signal(interrupt, signal.SIG_IGN)
    with Connection(connection_fd) as connection:
        measurements = Measurements(ProgressReporter(connection))
        detector = load_detector(bundle, connection, measurements, restricted)
        if detector is None:
            return
        while (received := _receive_job(connection)) is not None:
            report, body = process_job(detector, measurements, *received)
            connection.send_bytes(report.model_dump_json().encode())
            connection.send_bytes(body)


def load_detector(
    bundle: Path, connection: Connection, measurements: Measurements, restricted: RestrictedFiles | None = None
) -> Detector | None:
    """Load and test the model, confine this process, and report the outcome; None if one of these failed.

    Args:
        bundle: folder of the model.
        connection: gets the report.
        measurements: observes the detector.
        restricted: what the sandbox denies already; None: this process may open any file.
    """
    try:
        import deepfake_detector.media.video  # noqa: F401  (libav, before memory is limited)

        limit_opencv_to_one_thread()
        detector = Detector(read_bundle(bundle), streams=1, observer=measurements)  # tests the engine
        detector.predict_image(encode_png(np.zeros((64, 64, 3), np.uint8)))  # tests image and face detection
        state = confine(restricted=restricted or unrestricted_files())
    except Exception as error:
        connection.send_bytes(json.dumps({"failure": f"{type(error).__name__}: {error}"}).encode())
        return None
    connection.send_bytes(json.dumps({"sandbox": state.model_dump()}).encode())
    return detector


def process_job(detector: Detector, measurements: Measurements, job: Job, fd: int) -> tuple[JobReport, bytes]:
    """Analyse an open file and close it; an error becomes a report and an answer, too."""
    start_s = time.perf_counter()
    measurements.reset()
    path = UploadPath(f"/dev/fd/{fd}")
    try:
        with _limits(detector, job, path, measurements.progress):
            verdict = _predict(detector, job, path)
        body = verdict.model_dump_json().encode()
        return _report(verdict, measurements, path.stat().st_size, time.perf_counter() - start_s), body
    except DetectorError as error:
        return _error_report(error), error_body(error)
    except Exception as error:
        known = _unexpected(error, job)
        return _error_report(known), error_body(known)
    finally:
        os.close(fd)


def _unexpected(error: Exception, job: Job) -> DetectorError:
    """The error of the file if it needs more memory than one file may use, else ours."""
    if isinstance(error, MemoryError) or any(text in str(error) for text in OUT_OF_MEMORY):
        return TooCostly(f"the {job.kind} needs more memory than one file may use", "send a smaller file")
    return ToolFailed(f"{type(error).__name__} while the file was processed", "report it with the request id")


def _limits(
    detector: Detector, job: Job, path: Path, progress: ProgressReporter | None
) -> AbstractContextManager[None]:
    return progress.whole_video(detector, job, path) if job.long and progress is not None else nullcontext()


def _predict(detector: Detector, job: Job, path: Path) -> ImageVerdict | VideoVerdict:
    if job.kind == "video":
        return detector.predict_video(path, job.explain, job.prior, job.location)
    return detector.predict_image(path.read_bytes(), job.explain, job.prior, job.location)


def _report(
    verdict: ImageVerdict | VideoVerdict, measurements: Measurements, file_bytes: int, processing_s: float
) -> JobReport:
    measured_s = sum(measurements.steps_s.values())
    return JobReport(
        status=200,
        verdict=verdict.verdict,
        p_fake=verdict.p_fake,
        faces=len(verdict.faces),
        faces_p_fake=tuple(face.p_fake for face in verdict.faces if face.p_fake is not None),
        largest_face_px=max((min(face.box_px[2:]) for face in verdict.faces), default=0.0),
        file_bytes=file_bytes,
        processing_s=processing_s,
        steps_s={"decode": max(processing_s - measured_s, 0.0), **measurements.steps_s},
        quality=measurements.quality,
    )


def _error_report(error: DetectorError) -> JobReport:
    """Report the error that is being handled, with its traceback if it is ours and not the file's."""
    failure = traceback.format_exc() if error.http_status >= 500 else ""
    return JobReport(status=error.http_status, error_code=error.code, traceback=failure)


def _receive_job(connection: Connection) -> tuple[Job, int] | None:
    """Return the next job and its file descriptor; None once the connection is closed. Answer questions meanwhile."""
    try:
        while not (message := connection.recv_bytes()):
            connection.send_bytes(b"")
        return Job.model_validate_json(message), recv_handle(connection)
    except (EOFError, OSError):
        return None
