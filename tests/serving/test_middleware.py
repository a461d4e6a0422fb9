from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deepfake_detector.media.image import encode_png

TOKEN = "a-token-of-a-few-letters"
FILE = {"files": {"image": ("a", encode_png(np.zeros((9, 9, 3), np.uint8)))}}


def test_a_token_is_asked_for_where_files_and_figures_are(idle: Callable[..., Any]) -> None:
    served = idle(token=TOKEN)
    right, wrong = {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"Bearer {TOKEN}x"}
    for path in ("/predict_image", "/metrics", "/nothing", "/docsx"):
        for headers in ({}, wrong, {"Authorization": TOKEN}):
            answer = served.ask("POST" if "predict" in path else "GET", path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert served.ask("GET", "/metrics", headers=right).status_code == 200
    assert served.ask("POST", "/predict_image", headers=right, **FILE).status_code == 503  # nobody works there
    for path in ("/ui/", "/docs/", "/openapi.json", "/about"):
        assert served.ask("GET", path).status_code == 200


def test_ids_come_back_and_what_is_no_id_is_replaced(idle: Callable[..., Any]) -> None:
    served = idle()
    assert served.ask("GET", "/about", headers={"X-Request-ID": "a.b-C_1:2"}).headers["x-request-id"] == "a.b-C_1:2"
    for bad in ("", "a b", "a" * 65, '"x"'):
        assert len(served.ask("GET", "/about", headers={"X-Request-ID": bad}).headers["x-request-id"]) == 32
    ids = {served.ask("GET", "/nothing").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize("path", ["/about", "/nothing", "/ui/", "/docs/"])
def test_nothing_that_leaves_may_load_from_elsewhere_or_be_framed(idle: Callable[..., Any], path: str) -> None:
    headers = idle().ask("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert "unsafe" not in policy.split("style-src")[0]
