"""The served model -> the answer of GET /about; the types of answers and errors -> the OpenAPI 3.1 document."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from deepfake_detector.inference.verdict import SCHEMA_VERSION, ImageVerdict, VideoVerdict
from deepfake_detector.model.bundle import Bundle, Contract
from deepfake_detector.serving.feedback_intake import FeedbackReceipt
from deepfake_detector.serving.feedback_openapi import FEEDBACK_ERRORS, feedback_operation
from deepfake_detector.serving.jobs import JobLimits, VideoJob
from deepfake_detector.serving.jobs_openapi import job_operations
from deepfake_detector.serving.messages import Error, SandboxState

BATCH_FILES = 16  # images in one request to /predict_images


@dataclass(frozen=True)
class ModelIdentity:
    """What the service calls its model, and why it serves this one."""

    name: str  # champion | pretrained
    version: str
    reason: str
    run_id: str = ""  # MLflow run of the training, as the registry knows it; "": as the bundle names it, if it does


class About(Contract):
    """Which model is served and why; then its contract: training data, test results, thresholds."""

    name: str  # champion | pretrained
    version: str
    reason: str
    sha256: str  # of the bundle
    sandbox: SandboxState | None = None  # what the kernel enforces in worker processes; None until one has started
    jobs: JobLimits | None = None  # None: the service has no jobs
    prediction_log_days: int | None = None  # how long scores of answers are kept; None: they are not


class BatchAnswer(BaseModel):
    """A verdict or an error for each image of a batch, in the same order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answers: tuple[ImageVerdict | Error, ...]


def describe_served_model(bundle: Bundle, identity: ModelIdentity) -> About:
    """Build the answer of GET /about."""
    named = asdict(identity) | {"run_id": identity.run_id or bundle.contract.run_id}
    return About(**bundle.contract.model_dump() | named, sha256=bundle.sha256)


SCHEMAS = "#/components/schemas/"
ERROR_RESPONSES = {  # status -> description, example of a code
    400: ("not a valid HTTP message, or for a host that the service does not answer for", "bad_request"),
    401: ("the token is missing or wrong", "unauthorized"),
    403: ("a page of another site sent the request", "cross_site_request"),
    408: ("the upload stalled", "too_slow"),
    413: ("more bytes, pixels or frames than the limits allow", "too_large"),
    415: ("not a readable picture or video, or a file that refers to other files", "unreadable_image"),
    422: (
        "no file in the expected field, an invalid parameter, or a file that exceeds its time or memory limit",
        "bad_upload",
    ),
    429: ("the queue is full; retry after the seconds in Retry-After", "too_busy"),
    500: ("internal error", "tool_failed"),
    503: ("no worker, connection or memory is free; retry after the seconds in Retry-After", "not_ready"),
    507: ("the disk that holds uploads is full; retry after the seconds in Retry-After", "storage_full"),
}
FORM_PARAMETERS: dict[str, dict[str, Any]] = {
    "explain": {"type": "boolean", "description": "add the crop and the heatmap of each face, as PNG in base64"},
    "prior": {
        "type": "number",
        "exclusiveMinimum": 0,
        "exclusiveMaximum": 1,
        "description": "share of fakes at the source of the file, for example 0.001; adds `posterior` to the answer",
    },
    "location": {"type": "boolean", "description": "add the position that the file holds to `metadata`"},
}
PARAMETERS = [
    *({"name": name, "in": "query", "schema": schema} for name, schema in FORM_PARAMETERS.items()),
    {
        "name": "X-Request-ID",
        "in": "header",
        "description": "returned and logged; replaced by a new one unless it is 1 to 64 of A-Z a-z 0-9 . _ : -",
        "schema": {"type": "string"},
    },
]

EXAMPLE: dict[str, Any] = {
    "schema_version": SCHEMA_VERSION,
    "kind": "image",
    "verdict": "fake",
    "p_fake": 0.97,
    "evidence": "very strong",
    "reasons": ["the face scores 0.970, at or above 0.913 (fake)"],
    "faces": [
        {
            "box_px": [60.9, 44.0, 142.9, 204.4],
            "landmarks_px": [[101.0, 120.5], [165.2, 119.8], [133.1, 160.0], [108.4, 196.3], [159.9, 195.7]],
            "score": 0.93,
            "p_fake": 0.97,
            "problem": None,
        }
    ],
    "posterior": {"prior": 0.001, "p_fake": 0.031},
    "model": {
        "sha256": "3bc3adb2...",
        "run_id": "57408364...",
        "trained_on": "photographs",
        "network": "residual",
        "thresholds": {"clear": 0.093, "flag": 0.913, "strict": 0.975},
    },
}


@lru_cache(maxsize=4)
def openapi_document(root_path: str = "") -> dict[str, Any]:
    """Return the whole document.

    Args:
        root_path: prefix of all paths; "": they are relative to the folder from which the document is loaded.
    """
    schemas: dict[str, Any] = {}
    for answer in (ImageVerdict, VideoVerdict, BatchAnswer, About, FeedbackReceipt, VideoJob):
        schema = TypeAdapter(answer).json_schema(mode="serialization", ref_template=f"{SCHEMAS}{{model}}")
        schemas |= schema.pop("$defs", {}) | {answer.__name__: schema}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "deepfake-detector",
            "version": str(SCHEMA_VERSION),
            "description": "Detects manipulated faces in images and videos, and gives the reasons. "
            "The same bytes give the same answer. File names are ignored.",
        },
        "servers": [{"url": root_path or "."}],
        "paths": {
            "/predict_image": _predict(
                "analyse one image", "image", {"$ref": f"{SCHEMAS}ImageVerdict"}, example=EXAMPLE
            ),
            "/predict_video": _predict("analyse one video", "video", {"$ref": f"{SCHEMAS}VideoVerdict"}),
            "/predict_images": _predict(
                f"analyse up to {BATCH_FILES} images; answers in the same order",
                "images",
                {"$ref": f"{SCHEMAS}BatchAnswer"},
                batch=True,
            ),
            "/feedback": feedback_operation(
                {
                    "201": _json("what was stored", {"$ref": f"{SCHEMAS}FeedbackReceipt"}),
                    **{str(status): _error(*error) for status, error in (ERROR_RESPONSES | FEEDBACK_ERRORS).items()},
                }
            ),
            **job_operations(
                FORM_PARAMETERS,
                PARAMETERS,
                lambda description: _json(description, {"$ref": f"{SCHEMAS}VideoJob"}),
                {str(status): _error(*error) for status, error in ERROR_RESPONSES.items()},
            ),
            "/about": {
                "get": _get(
                    "the served model, why it is served, its training data and test results",
                    {"$ref": f"{SCHEMAS}About"},
                )
            },
        },
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _predict(summary: str, field: str, answer: dict[str, Any], batch: bool = False, **content: Any) -> dict[str, Any]:
    file = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    form = {
        "type": "object",
        "required": [field],
        "additionalProperties": False,
        "properties": {
            field: {"type": "array", "items": file, "minItems": 1, "maxItems": BATCH_FILES} if batch else file,
            **FORM_PARAMETERS,
        },
    }
    return {
        "post": {
            "summary": summary,
            "operationId": f"predict_{field}",
            "parameters": PARAMETERS,
            "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
            "responses": {
                "200": _json("the answer", answer, **content),
                **{str(status): _error(*error) for status, error in ERROR_RESPONSES.items()},
            },
            "security": [{}, {"token": []}],
        }
    }


def _get(summary: str, answer: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "operationId": "about", "responses": {"200": _json("the answer", answer)}}


def _json(description: str, schema: dict[str, Any], **content: Any) -> dict[str, Any]:
    header = {"description": "see the parameter", "schema": {"type": "string"}}
    body = {"application/json": {"schema": schema, **content}}
    return {"description": description, "headers": {"X-Request-ID": header}, "content": body}


def _error(description: str, code: str) -> dict[str, Any]:
    example = {"error": {"code": code, "message": description, "hint": "what to do next"}}
    return _json(description, {"$ref": f"{SCHEMAS}Error"}, example=example)
