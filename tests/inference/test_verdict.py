from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.verdict import ImageVerdict, model_info
from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle


def test_verdicts_are_versioned_frozen_and_equal_after_json(
    tiny_bundle: Bundle, red_portrait: NDArray[np.uint8]
) -> None:
    answer = Detector(tiny_bundle).predict_image(encode_png(red_portrait), explain=True, prior=0.001)
    assert answer.schema_version == 4
    assert ImageVerdict.model_validate_json(answer.model_dump_json()) == answer
    with pytest.raises(ValidationError):
        answer.verdict = "real"  # type: ignore[misc]


def test_a_verdict_names_the_model_by_its_digest(tiny_bundle: Bundle) -> None:
    model, contract = model_info(tiny_bundle), tiny_bundle.contract
    assert (model.sha256, model.network, model.thresholds) == (tiny_bundle.sha256, "tiny", contract.thresholds)
