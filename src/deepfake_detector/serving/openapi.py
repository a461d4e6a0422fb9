"""A bundle and what is said of it -> the answer of GET /about."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from deepfake_detector.inference.verdict import SCHEMA_VERSION, ImageVerdict, VideoVerdict
from deepfake_detector.model.bundle import Bundle, Contract


class About(Contract):
    """Which model answers and why; then its contract: on what it was trained, how it was judged, its marks."""

    name: str  # champion | pretrained
    version: str
    reason: str
    sha256: str  # of the bundle


def about(bundle: Bundle, named: dict[str, str]) -> About:
    """Say it.

    Args:
        bundle: the one that answers.
        named: its `name`, `version` and the `reason` why it answers.
    """
    return About(**bundle.contract.model_dump(), **named, sha256=bundle.sha256)


PLACE = "#/components/schemas/"
ERROR = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint"],
            "additionalProperties": False,
            "properties": {
                "code": {"type": "string", "description": "for programs"},
                "message": {"type": "string", "description": "what went wrong, with the value"},
                "hint": {"type": "string", "description": "what to do next; may be empty"},
            },
        }
    },
}
ERRORS = {
    400: ("the body is no HTTP message that can be read", "bad_request"),
    401: ("no token, or another one", "unauthorized"),
    408: ("the upload stood still", "too_slow"),
    413: ("more bytes, pixels or frames than the limits allow", "too_large"),
    415: ("no picture or video that can be read, or one that points elsewhere", "unreadable_image"),
    422: ("not a file in the right field, an unknown parameter, or a file that costs too much", "bad_upload"),
    429: ("the line is full; Retry-After says when to come again", "too_busy"),
    500: ("the service failed", "tool_failed"),
    503: ("no worker is ready; Retry-After says when to come again", "not_ready"),
}
PARAMETERS = [
    {
        "name": "explain",
        "in": "query",
        "description": "add the crop of each face that the model saw and the heat on it, as PNG in base64",
        "schema": {"type": "boolean", "default": False},
    },
    {
        "name": "prior",
        "in": "query",
        "description": "share of fakes where the file comes from; the answer then holds `posterior`",
        "schema": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "example": 0.001,
    },
    {
        "name": "X-Request-ID",
        "in": "header",
        "description": "comes back and stands in the log; replaced unless it is 1 to 64 of A-Z a-z 0-9 . _ : -",
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


@lru_cache(maxsize=1)
def description() -> dict[str, Any]:
    """The whole description."""
    schemas: dict[str, Any] = {"Error": ERROR}
    for made in (ImageVerdict, VideoVerdict, About):
        schema = TypeAdapter(made).json_schema(mode="serialization", ref_template=f"{PLACE}{{model}}")
        schemas |= schema.pop("$defs", {}) | {made.__name__: schema}
    one_of = {"anyOf": [{"$ref": f"{PLACE}ImageVerdict"}, {"$ref": f"{PLACE}Error"}]}
    many = {"type": "object", "required": ["answers"], "properties": {"answers": {"type": "array", "items": one_of}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "deepfake-detector",
            "version": str(SCHEMA_VERSION),
            "description": "Judges whether faces in an image or a video are fake, and says why. "
            "The same bytes give the same answer. Names of files are not looked at.",
        },
        "paths": {
            "/predict_image": _predict("judge one picture", "image", {"$ref": f"{PLACE}ImageVerdict"}, example=EXAMPLE),
            "/predict_video": _predict("judge one video", "video", {"$ref": f"{PLACE}VideoVerdict"}),
            "/predict_images": _predict("judge up to 16 pictures; answers in the order sent", "images", many, True),
            "/about": {
                "get": _get(
                    "which model answers and why, on what it was trained and how it was judged",
                    {"$ref": f"{PLACE}About"},
                )
            },
        },
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _predict(summary: str, field: str, answer: dict[str, Any], several: bool = False, **more: Any) -> dict[str, Any]:
    file = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    form = {
        "type": "object",
        "required": [field],
        "additionalProperties": False,
        "properties": {field: {"type": "array", "items": file, "minItems": 1, "maxItems": 16} if several else file},
    }
    return {
        "post": {
            "summary": summary,
            "operationId": f"predict_{field}",
            "parameters": PARAMETERS,
            "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
            "responses": {
                "200": _json("the answer", answer, **more),
                **{str(s): _error(*said) for s, said in ERRORS.items()},
            },
            "security": [{}, {"token": []}],
        }
    }


def _get(summary: str, answer: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "operationId": "about", "responses": {"200": _json("the answer", answer)}}


def _json(said: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    header = {"description": "see the parameter", "schema": {"type": "string"}}
    content = {"application/json": {"schema": schema, **more}}
    return {"description": said, "headers": {"X-Request-ID": header}, "content": content}


def _error(said: str, code: str) -> dict[str, Any]:
    example = {"error": {"code": code, "message": said, "hint": "what to do next"}}
    return _json(said, {"$ref": f"{PLACE}Error"}, example=example)
