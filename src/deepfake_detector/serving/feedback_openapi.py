"""The fields of POST /feedback -> its operation in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from deepfake_detector.serving.feedback_intake import FeedbackFields

FEEDBACK_ERRORS = {  # status -> description, example of a code; beside those that predictions have, too
    404: ("the service takes no feedback, or has logged no answer with this request id", "unknown_request"),
    415: ("neither JSON nor a form, or the file is no picture that is kept", "unkept_picture"),
    422: ("a field is missing or invalid, or the picture is not that of the request", "other_picture"),
    429: ("the client has sent too much within an hour; retry after the seconds in Retry-After", "rate_limited"),
    507: ("the disk or the space for feedback is full; retry after the seconds in Retry-After", "storage_full"),
}


def feedback_operation(responses: dict[str, Any]) -> dict[str, Any]:
    """Return the operation.

    Args:
        responses: status -> response, all of them.
    """
    fields = FeedbackFields.model_json_schema()
    fields.pop("title")
    picture = {
        "type": "string",
        "format": "binary",
        "contentMediaType": "application/octet-stream",
        "description": "the picture of the request, byte by byte; with keep=true; kept until the time in the answer",
    }
    form = fields | {"properties": {**fields["properties"], "picture": picture}}
    example = {"request_id": "5f0c7a", "label": "real", "note": "my own photograph"}
    return {
        "post": {
            "summary": "say whether an answer was right; off unless the operator has set a folder for it",
            "operationId": "feedback",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": fields, "example": example},
                    "multipart/form-data": {"schema": form},
                },
            },
            "responses": responses,
            "security": [{"token": []}],
        }
    }
