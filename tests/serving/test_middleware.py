from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deepfake_detector.media.image import encode_png

TOKEN = "a-token-of-a-few-letters"
FILE = {"files": {"image": ("a", encode_png(np.zeros((9, 9, 3), np.uint8)))}}


def test_predictions_metrics_and_unknown_paths_need_the_token(idle: Callable[..., Any]) -> None:
    served = idle(token=TOKEN)
    right, wrong = {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"Bearer {TOKEN}x"}
    for path in ("/predict_image", "/metrics", "/nothing", "/docsx"):
        for headers in ({}, wrong, {"Authorization": TOKEN}):
            answer = served.request("POST" if "predict" in path else "GET", path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert served.request("GET", "/metrics", headers=right).status_code == 200
    assert served.request("POST", "/predict_image", headers=right, **FILE).status_code == 503  # no worker is running
    for path in ("/ui/", "/docs/", "/openapi.json", "/about"):
        assert served.request("GET", path).status_code == 200


def test_valid_request_ids_are_returned_and_others_replaced(idle: Callable[..., Any]) -> None:
    served = idle()

    def returned_id(path: str, given: str | None = None) -> str:
        headers = {} if given is None else {"X-Request-ID": given}
        return str(served.request("GET", path, headers=headers).headers["x-request-id"])

    assert returned_id("/about", "a.b-C_1:2") == "a.b-C_1:2"
    for bad in ("", "a b", "a" * 65, '"x"'):
        assert len(returned_id("/about", bad)) == 32
    assert len({returned_id("/nothing") for _ in range(5)}) == 5


@pytest.mark.parametrize("path", ["/about", "/nothing", "/ui/", "/docs/"])
def test_responses_may_not_load_from_elsewhere_or_be_framed(idle: Callable[..., Any], path: str) -> None:
    headers = idle().request("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert "unsafe" not in policy.split("style-src")[0]
