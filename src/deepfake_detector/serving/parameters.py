"""Query and form fields of a request -> the checked parameters of its job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepfake_detector.serving.errors import BadParameter
from deepfake_detector.serving.messages import Job, MediaKind
from deepfake_detector.serving.upload import MultipartForm

PARAMETERS_HINT = (
    "explain=true adds crops and heatmaps; prior=0.001 is the share of fakes at the file's source; "
    "location=true adds the position that the file holds"
)


class PredictionParameters(BaseModel):
    """Parameters of a prediction: in the query, or form fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    explain: bool = False
    prior: float | None = Field(None, gt=0, lt=1)
    location: bool = False


TEXT_FIELDS = tuple(PredictionParameters.model_fields)


def read_parameters(given: Mapping[str, Any]) -> PredictionParameters:
    """Check parameters.

    Raises:
        BadParameter: one is unknown or invalid.
    """
    try:
        return PredictionParameters.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name, value = ".".join(map(str, first["loc"])), str(first["input"])[:40]
        raise BadParameter(f"parameter {name} = {value!r}: {first['msg']}", PARAMETERS_HINT) from None


def read_job(kind: MediaKind, query: PredictionParameters, form: MultipartForm) -> Job:
    """Return the job that the query and the form describe together.

    Raises:
        BadParameter: a field is unknown or invalid, or has another value in the query.
    """
    texts = {name: decoded for name, text in form.texts.items() if (decoded := _decode(text)) is not None}
    fields = read_parameters(texts)
    for name in query.model_fields_set & fields.model_fields_set:
        if getattr(query, name) != getattr(fields, name):
            raise BadParameter(f"parameter {name} has one value in the query and another in the form", PARAMETERS_HINT)
    return Job(kind=kind, **query.model_dump(exclude_unset=True) | fields.model_dump(exclude_unset=True))


def _decode(text: bytes) -> Any:
    """Decode a form field: BentoML's client sends JSON, `null` for None; curl sends the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text.decode("utf-8", "replace")
