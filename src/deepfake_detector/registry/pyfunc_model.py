"""Table of files (column `path` or `data`) -> one row per file: verdict, p_fake, logit, kind, reasons; run by MLflow.

This is the model code of the registered model ("models from code"): MLflow copies this file into the model, with the
package and the sealed bundle, and executes it when the model is saved or loaded. So it is imported nowhere.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from deepfake_detector.errors import BadInput, DetectorError, ToolFailed
from deepfake_detector.inference.decision import (
    compare_to_thresholds,
    decide,
    evidence_level,
    kind_shares,
    likely_kind,
    model_warnings,
    posterior_verdict,
)
from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.engine import Engine
from deepfake_detector.inference.rendering import render_image_explanation, render_timeline
from deepfake_detector.inference.verdict import ImageVerdict, VideoVerdict
from deepfake_detector.media.image import decode_image, encode_png
from deepfake_detector.model.bundle import read_bundle

PATH, DATA = "path", "data"  # columns
DEFAULT_PARAMS: dict[str, Any] = {"prior": None, "explain": False, "aligned": False}
NUMBERS = ("p_fake", "logit", "posterior")
EMPTY_ROW: dict[str, Any] = dict.fromkeys(
    ("verdict", "p_fake", "logit", "kind", "kind_of_fake", "reasons", "posterior", "explanation", "error")
)
MAX_LOG_ODDS = 60.0  # beyond it a float64 cannot tell the probability from 0 or 1; `probabilities` clips there too


class FileDetector(PythonModel):
    """Answers about pictures and videos as `deepfake predict` does, with the bundle among the model's artifacts."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the sealed bundle.

        Raises:
            BundleCorrupt: its files were changed.
        """
        self._detector = Detector(read_bundle(Path(context.artifacts["bundle"])))

    @cached_property
    def _engine(self) -> Engine:
        """For aligned crops only, so that others need not wait for it."""
        return Engine(self._detector.bundle)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Answer about each row.

        Args:
            context: unused; MLflow passes it to a parameter of this name.
            model_input: first column `path` (file names) or `data` (bytes, or their base64 as JSON needs it). A list
                of either arrives as a column without a name: text is a path.
            params: `prior` (share of fakes where the files come from, or None), `explain` (add a picture that explains
                the answer), `aligned` (the files are crops as the model takes them: score them without looking for
                faces).

        Returns:
            One row per file: `verdict`, `p_fake` (0..1), `logit` (p_fake = sigmoid(logit / temperature)), `kind`
            (image | video), `kind_of_fake`, `reasons`, `posterior` (0..1, with a prior), `explanation` (PNG as base64,
            on request), `error` ("code: message"; the row has nothing else then). Empty cells are None; a column of
            numbers without empty cells is float64.

        Raises:
            BadInput: no such column, or the prior does not lie between 0 and 1.
        """
        options = DEFAULT_PARAMS | (params or {})
        posterior_verdict(None, options["prior"])
        if options["aligned"] and options["explain"]:
            raise BadInput("params has both `aligned` and `explain`", "aligned crops have no picture to explain")
        rows = [self._row(value, **options) for value in _first_column(model_input)]
        table = pd.DataFrame(rows, index=model_input.index, columns=list(EMPTY_ROW), dtype=object)
        complete = [name for name in NUMBERS if len(table) and table[name].notna().all()]
        return table.astype(dict.fromkeys(complete, np.float64))

    def _row(self, value: object, prior: float | None, explain: bool, aligned: bool) -> dict[str, Any]:
        try:
            with _readable_path(value) as path:
                answer = self._score_crop(path, prior) if aligned else self._answer(path, prior, explain)
        except DetectorError as error:
            answer = {"error": f"{error.code}: {error.message}"}
        except OSError as error:
            answer = {"error": f"{BadInput.code}: cannot read {value!r}: {error.strerror or error}"}
        except Exception as error:  # as `deepfake predict`: the other files have answers
            answer = {"error": f"{ToolFailed.code}: {type(error).__name__}: {error}"}
        return EMPTY_ROW | answer

    def _answer(self, path: Path, prior: float | None, explain: bool) -> dict[str, Any]:
        """What `deepfake predict` answers about a file."""
        verdict = self._detector.predict_file(path, prior)
        explanation = base64.b64encode(self._explain(path, verdict)).decode() if explain else None
        return self._columns(verdict) | {"explanation": explanation}

    def _explain(self, path: Path, verdict: ImageVerdict | VideoVerdict) -> bytes:
        """The picture of `deepfake predict --explain`, as PNG."""
        detector = self._detector
        if isinstance(verdict, VideoVerdict):
            return encode_png(render_timeline(verdict))
        rgb = decode_image(detector.read_image(path), detector.limits.image)
        return encode_png(render_image_explanation(rgb, detector.score_faces(rgb), detector.model.thresholds))

    def _score_crop(self, path: Path, prior: float | None) -> dict[str, Any]:
        """Score an aligned crop as it is; `logit` is the graph's own."""
        detector, engine = self._detector, self._engine
        pixels, side_px = decode_image(detector.read_image(path), detector.limits.image), engine.side_px
        if pixels.shape != (side_px, side_px, 3):
            size = f"{pixels.shape[1]} x {pixels.shape[0]}"
            text = f"an aligned crop of this model has {side_px} x {side_px} pixels, not {size}"
            raise BadInput(text, "leave out the param `aligned` to score files of any size")
        output = engine.score(pixels[None])
        (p_fake,) = engine.p_fake(output.logits).tolist()
        (kind_of_fake,) = kind_shares(output.kinds, detector.bundle.contract.kinds)
        model = detector.model
        label = decide(p_fake, model.thresholds)
        reason = f"the crop scores {compare_to_thresholds(label, p_fake, model.thresholds)}"
        verdict = ImageVerdict(
            verdict=label,
            p_fake=p_fake,
            evidence=evidence_level(label, p_fake),
            kind_of_fake=kind_of_fake,
            reasons=(*model_warnings(model), reason),
            faces=(),
            posterior=posterior_verdict(p_fake, prior),
            model=model,
        )
        return self._columns(verdict) | {"logit": float(output.logits[0])}

    def _columns(self, verdict: ImageVerdict | VideoVerdict) -> dict[str, Any]:
        kind_of_fake = likely_kind(verdict.kind_of_fake) if verdict.verdict == "fake" else None
        return {
            "verdict": verdict.verdict,
            "p_fake": verdict.p_fake,
            "logit": logit(verdict.p_fake, self._detector.bundle.contract.temperature),
            "kind": verdict.kind,
            "kind_of_fake": kind_of_fake[0] if kind_of_fake else None,
            "reasons": list(verdict.reasons),
            "posterior": verdict.posterior.p_fake if verdict.posterior else None,
        }


def logit(p_fake: float | None, temperature: float) -> float | None:
    """The logit whose calibrated probability is p_fake; None without one."""
    if p_fake is None:
        return None
    with np.errstate(divide="ignore"):
        log_odds = np.log(p_fake) - np.log1p(-p_fake)
    return float(temperature * np.clip(log_odds, -MAX_LOG_ODDS, MAX_LOG_ODDS))


def _first_column(table: pd.DataFrame) -> list[object]:
    """Paths (str) and contents (bytes) of the first column.

    Raises:
        BadInput: it is neither `path` nor `data`, and has a name.
    """
    name, values = table.columns[0], list(table.iloc[:, 0])
    if name == DATA:
        return [_decode_base64(value) if isinstance(value, str) else value for value in values]
    if name == PATH or not isinstance(name, str):  # a list has no column names
        return values
    raise BadInput(
        f"the first column is {name!r}", f"call it `{PATH}` (file names) or `{DATA}` (bytes), and put it first"
    )


def _decode_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=False)
    except binascii.Error:
        return None


@contextmanager
def _readable_path(value: object) -> Iterator[Path]:
    """A path to read from; bytes are written to a temporary file, because reading a video needs to seek."""
    if isinstance(value, str):
        yield Path(value)
    elif isinstance(value, bytes | bytearray):
        with tempfile.NamedTemporaryFile(prefix="deepfake-") as copy:
            copy.write(value)
            copy.flush()
            yield Path(copy.name)
    else:
        raise BadInput(f"a row holds {type(value).__name__} {value!r}", "give a file name, or bytes (in JSON: base64)")


set_model(FileDetector())
