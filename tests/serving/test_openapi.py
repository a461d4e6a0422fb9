from __future__ import annotations

import json
from typing import Any

import pytest

from deepfake_detector.inference.verdict import ImageVerdict
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving.openapi import EXAMPLE, ModelIdentity, describe_served_model, openapi_document
from deepfake_detector.serving.parameters import PredictionParameters
from deepfake_detector.serving.routes import PREDICTION_ROUTES


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


def test_every_prediction_route_is_documented_with_its_form_field() -> None:
    paths = openapi_document()["paths"]
    for path, route in PREDICTION_ROUTES.items():
        form = paths[path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert form["required"] == [route.upload.field]
    assert set(paths) == {*PREDICTION_ROUTES, "/about", "/feedback", "/jobs", "/jobs/{id}"}


def test_every_prediction_parameter_is_documented_in_the_query_and_the_form() -> None:
    for path in PREDICTION_ROUTES:
        post = openapi_document()["paths"][path]["post"]
        form = post["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
        query = {parameter["name"] for parameter in post["parameters"] if parameter["in"] == "query"}
        assert query == set(PredictionParameters.model_fields) == set(form) & query


def test_the_routes_of_jobs_are_documented() -> None:
    paths = openapi_document()["paths"]
    post, get, delete = paths["/jobs"]["post"], paths["/jobs/{id}"]["get"], paths["/jobs/{id}"]["delete"]
    form = post["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["video"]
    assert set(form["properties"]) == {"video", *PredictionParameters.model_fields}
    for operation, success in ((post, "202"), (get, "200")):
        assert operation["responses"][success]["content"]["application/json"]["schema"]["$ref"].endswith("/VideoJob")
        assert {"401", "404", "503"} <= set(operation["responses"])
    assert "Location" in post["responses"]["202"]["headers"]
    assert {"204", "404"} <= set(delete["responses"])
    assert not {"413", "507"} & set(get["responses"])


def test_the_server_is_the_root_path_or_the_folder_of_the_document() -> None:
    assert openapi_document()["servers"] == [{"url": "."}]
    assert openapi_document("/a/b")["servers"] == [{"url": "/a/b"}]


def test_every_reference_has_a_schema_and_every_schema_is_used() -> None:
    document = openapi_document()
    assert document["openapi"].startswith("3.1")
    assert references(document) == {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def test_the_document_is_json_and_constant() -> None:
    assert json.loads(json.dumps(openapi_document())) == openapi_document()


def test_the_example_is_a_valid_answer() -> None:
    assert ImageVerdict.model_validate_json(json.dumps(EXAMPLE)).verdict == "fake"


@pytest.mark.parametrize("name", ["verdict", "p_fake", "faces", "model", "schema_version"])
def test_answer_schemas_are_those_of_the_answer_types(name: str) -> None:
    assert name in openapi_document()["components"]["schemas"]["ImageVerdict"]["properties"]
    assert name in ImageVerdict.model_fields


def test_about_names_the_run_that_the_registry_knows(tiny_bundle: Bundle) -> None:
    """Bundles name no run: two trainings of the same must give the same bundle."""
    of_bundle = describe_served_model(tiny_bundle, ModelIdentity("champion", "3", "it was requested"))
    of_registry = describe_served_model(tiny_bundle, ModelIdentity("champion", "3", "it was requested", "r" * 32))
    assert (of_bundle.run_id, of_registry.run_id) == (tiny_bundle.contract.run_id, "r" * 32)
