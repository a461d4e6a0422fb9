from __future__ import annotations

import json
from typing import Any

import pytest

from deepfake_detector.inference.verdict import ImageVerdict
from deepfake_detector.serving.openapi import EXAMPLE, description
from deepfake_detector.serving.routes import UPLOADS


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


def test_every_route_that_takes_a_file_is_described_with_its_field() -> None:
    paths = description()["paths"]
    for path, (_, upload, _) in UPLOADS.items():
        form = paths[path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert form["required"] == [upload.field]
    assert set(paths) == {*UPLOADS, "/about"}


def test_what_is_referred_to_is_there() -> None:
    found = description()
    assert found["openapi"].startswith("3.1")
    assert references(found) == {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}


def test_it_is_json_and_stands_still() -> None:
    assert json.loads(json.dumps(description())) == description()


def test_the_example_is_an_answer() -> None:
    assert ImageVerdict.model_validate_json(json.dumps(EXAMPLE)).verdict == "fake"


@pytest.mark.parametrize("name", ["verdict", "p_fake", "faces", "model", "schema_version"])
def test_the_answers_are_the_types_that_are_sent(name: str) -> None:
    assert name in description()["components"]["schemas"]["ImageVerdict"]["properties"]
    assert name in ImageVerdict.model_fields
