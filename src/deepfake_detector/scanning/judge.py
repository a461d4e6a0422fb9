"""Names of files -> rows: the unit of work of a scan, one instance per process, here or on a cluster."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from deepfake_detector.errors import BadInput, DetectorError, ToolFailed
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.scanning.medium import HEAD_BYTES, owes_answer
from deepfake_detector.scanning.row import Row, answered, failed
from deepfake_detector.scoring.detector import Detector


@dataclass(frozen=True)
class Judge:
    """Judges files, each as `deepfake predict` would; travels to a worker as three values and loads its model there.

    Attributes:
        folder: the names are relative to it.
        bundle: folder of the model.
        with_sha256: put the files' digests into the rows.
    """

    folder: Path
    bundle: Path
    with_sha256: bool = False

    def __call__(self, names: Sequence[str]) -> list[Row | None]:
        """Judge files; an error is a row too, a file that is neither image nor video is None.

        Raises:
            ModelNotFound, BundleCorrupt, ToolFailed: the model cannot be used, so that no file can be judged.
        """
        detector = self._detector
        return [self._row(detector, name) for name in names]

    @cached_property
    def _detector(self) -> Detector:
        return Detector(read_bundle(self.bundle), streams=1)  # there is a process per core

    def _row(self, detector: Detector, name: str) -> Row | None:
        path = self.folder / name
        size = digest = None
        try:
            with path.open("rb") as stream:
                if not owes_answer(name, stream.read(HEAD_BYTES)):
                    return None
            size, digest = path.stat().st_size, _sha256(path) if self.with_sha256 else None
            row = answered(name, detector.file(path))
        except DetectorError as error:
            row = failed(name, error)
        except OSError as error:
            row = failed(name, BadInput(f"the file cannot be read: {error.strerror or error}"))
        except Exception as error:  # one odd file must not end a scan of a million
            row = failed(name, ToolFailed(f"{type(error).__name__}: {error}"))
        return row._replace(bytes=size, sha256=digest)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
