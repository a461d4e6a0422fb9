"""The routes of jobs -> their operations in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

NOT_POSTED = ("408", "413", "415", "422", "429", "507")  # errors of uploads


def job_operations(
    form_parameters: Mapping[str, Any],
    parameters: list[dict[str, Any]],
    answer: Callable[[str], dict[str, Any]],
    errors: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """Return the operations, by path.

    Args:
        form_parameters: of predictions: name -> schema.
        parameters: of predictions, in the query and the header.
        answer: description -> response with the state of a job.
        errors: status -> response, of predictions.
    """
    file = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    form = {
        "type": "object",
        "required": ["video"],
        "additionalProperties": False,
        "properties": {"video": file, **form_parameters},
    }
    missing = {"404": {**errors["422"], "description": "no job has this id, or the service has no jobs"}}
    others = {status: error for status, error in errors.items() if status not in NOT_POSTED}
    job_id = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    headers = [each for each in parameters if each["in"] == "header"]
    security: list[dict[str, list[str]]] = [{}, {"token": []}]
    accepted = answer("the job is queued")
    accepted["headers"] = {
        **accepted["headers"],
        "Location": {"description": "where to ask for the job", "schema": {"type": "string"}},
    }
    return {
        "/jobs": {
            "post": {
                "summary": "analyse all of a long video, later; ask for the answer by the job's id",
                "operationId": "submit_job",
                "parameters": parameters,
                "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
                "responses": {"202": accepted, **missing, **errors},
                "security": security,
            }
        },
        "/jobs/{id}": {
            "parameters": [job_id, *headers],
            "get": {
                "summary": "the state of a job, and its result",
                "operationId": "job",
                "responses": {"200": answer("the state"), **missing, **others},
                "security": security,
            },
            "delete": {
                "summary": "delete a job with its video and result; a running one is stopped",
                "operationId": "delete_job",
                "responses": {"204": {"description": "it is deleted"}, **missing, **others},
                "security": security,
            },
        },
    }
