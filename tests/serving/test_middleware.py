from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deepfake_detector.media.image import encode_png
from deepfake_detector.serving.middleware import below_root_path

TOKEN = "a-token-of-a-few-letters"
ROOT = "/tools/deepfake"
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


@pytest.mark.parametrize(
    ("path", "location"), [("/", "./ui/"), ("/ui", "./ui/"), ("/docs", "./docs/"), ("/about/", "./../about")]
)
def test_a_redirect_is_relative_so_that_a_proxy_may_remove_a_prefix(
    idle: Callable[..., Any], path: str, location: str
) -> None:
    answer = idle().request("GET", path, headers={"Host": "inside:3000"})
    assert (answer.status_code, answer.headers["location"]) == (307, location)


@pytest.mark.parametrize("prefix", ["", ROOT])
def test_with_a_root_path_requests_are_answered_with_and_without_it(idle: Callable[..., Any], prefix: str) -> None:
    served = idle(root_path=ROOT, token=TOKEN)
    for path in ("/about", "/ui/", "/ui/main.js", "/livez"):
        assert served.request("GET", prefix + path).status_code == 200
    assert served.request("POST", f"{prefix}/predict_image", **FILE).status_code == 401
    authorized = {"Authorization": f"Bearer {TOKEN}"}
    assert served.request("POST", f"{prefix}/predict_image", headers=authorized, **FILE).status_code == 503
    assert served.request("GET", f"{prefix}/ui").headers["location"] == f"{ROOT}/ui/"
    assert served.request("GET", prefix).headers["location"] == f"{ROOT}/ui/"
    assert served.request("GET", f"{prefix}/openapi.json").json()["servers"] == [{"url": ROOT}]
    assert served.request("GET", f"{prefix}x/about").status_code == 401  # another path


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        ("/about", "", "/about"),
        ("http://host:3000/about", "", "/about"),
        ("HTTPS://host", "", "/"),
        ("https://host/tools/deepfake/ui/", ROOT, "/ui/"),
        (ROOT, ROOT, "/"),
        (f"{ROOT}s/about", ROOT, f"{ROOT}s/about"),
        ("*", "", "*"),
        ("/http://host/about", "", "/http://host/about"),
    ],
)
def test_the_path_is_the_one_that_the_routes_know(path: str, root_path: str, expected: str) -> None:
    assert below_root_path({"type": "http", "path": path}, root_path)["path"] == expected
    assert below_root_path({"type": "http", "path": path, "root_path": root_path}, "")["path"] == expected


def test_readiness_is_an_error_in_the_usual_shape_until_a_worker_is_ready(idle: Callable[..., Any]) -> None:
    answer = idle(token=TOKEN).request("GET", "/readyz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("path", ["/about", "/nothing", "/ui/", "/docs/"])
def test_responses_may_not_load_from_elsewhere_or_be_framed(idle: Callable[..., Any], path: str) -> None:
    headers = idle().request("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert "unsafe" not in policy.split("style-src")[0]
