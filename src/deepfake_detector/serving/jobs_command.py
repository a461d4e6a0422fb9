"""A bundle and DEEPFAKE_SERVE_REDIS -> a process that does jobs until it is stopped: `deepfake jobs`, and the image's.

In the image: `python -m deepfake_detector.serving.jobs_command`; the model is the one inside.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from deepfake_detector.errors import DetectorError, ModelNotFound, SettingsError, ToolFailed, needs_extra
from deepfake_detector.model.bundle import Bundle, read_bundle
from deepfake_detector.serving.messages import JobReport
from deepfake_detector.serving.options import PREFIX, ServingOptions, read_options
from deepfake_detector.serving.sandbox import hide_memory
from deepfake_detector.serving.telemetry import PredictionLog, configure_json_logging, open_prediction_log

logger = logging.getLogger("deepfake")

BENTO_PATH = "BENTO_PATH"  # set in the image: where the bento is
MODELS_IN_BENTO = "models/*/*/bundle"


def run_worker(bundle: Bundle, options: ServingOptions, alive_file: Path | None = None) -> None:
    """Do jobs until SIGTERM or Ctrl-C.

    Args:
        bundle: the model.
        options: settings of the service; `redis` must be set.
        alive_file: touched every few seconds, for health checks.

    Raises:
        SettingsError: `redis` is not set.
        MissingExtra: the extra `jobs` is not installed.
        QueueUnavailable: Redis does not answer.
        ToolFailed: the decoding process does not start, or the worker ended without being asked to.
    """
    if options.redis is None:
        raise SettingsError(f"{PREFIX}REDIS is not set", "set it to the address of Redis that the service has, too")
    with needs_extra("jobs", "jobs"):
        from deepfake_detector.serving.jobs_store import JobStore, redis_errors
        from deepfake_detector.serving.jobs_worker import VideoDecoder, VideoWorker

    store = JobStore(options)
    with redis_errors():
        store.connection.ping()
    _prepare_process()
    log = open_prediction_log(options, bundle.sha256)
    decoder = VideoDecoder(bundle.path)
    try:
        decoder.start()
        on_result = (lambda *_: None) if log is None else partial(_log_result, log)
        with redis_errors():
            worker = VideoWorker(store, decoder, on_result, alive_file)
            logger.info("waiting for jobs", extra={"worker": worker.name})
            worker.work(logging_level="WARNING")
    finally:
        decoder.stop()
        if log is not None:
            log.close()
    if not worker.asked_to_stop:
        raise ToolFailed("the worker ended by itself", "see the line before in the log; start it again")


def _log_result(log: PredictionLog, job_id: str, report: JobReport) -> None:
    log.write(f"job-{job_id[:8]}", "video", report)


def _prepare_process() -> None:
    """Log as JSON lines, and keep the memory, with Redis' password in it, from other processes."""
    configure_json_logging()
    hide_memory()


def bundle_in_image(environment: Mapping[str, str]) -> Path:
    """Folder of the model inside the image.

    Raises:
        ModelNotFound: this is no image, or it has no model or several.
    """
    found = sorted(Path(environment[BENTO_PATH]).glob(MODELS_IN_BENTO)) if BENTO_PATH in environment else []
    if len(found) != 1:
        where = environment.get(BENTO_PATH, "the environment")
        raise ModelNotFound(f"{len(found)} models are in {where}", "name one: --bundle FOLDER")
    return found[0]


def main(arguments: list[str] | None = None) -> int:
    """Run the command of the image; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m deepfake_detector.serving.jobs_command", description=__doc__)
    parser.add_argument("--bundle", type=Path, help="folder of the model; default: the one in the image")
    parser.add_argument("--alive-file", type=Path, help="touched every few seconds, for health checks")
    given = parser.parse_args(arguments)
    try:
        bundle = read_bundle(given.bundle or bundle_in_image(os.environ))
        options = read_options(os.environ)
        run_worker(bundle, options, given.alive_file)
    except DetectorError as error:
        print(f"error: [{error.code}] {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
