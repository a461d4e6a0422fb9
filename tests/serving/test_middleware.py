from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.datastructures import Headers

from deepfake_detector.media.image import encode_png
from deepfake_detector.serving.errors import HostNotAllowed
from deepfake_detector.serving.middleware import below_root_path
from deepfake_detector.serving.origin import check_host

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
    answer = idle(hosts="inside").request("GET", path, headers={"Host": "inside:3000"})
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


HOSTILE_HOSTS = (
    "evil.example", "localhost.evil.example", "evil.example:3000", "127.0.0.1.evil.example", "localhost@evil.example",
    "localhost:3000@evil.example", "[::1", "[::1].evil.example", "localhost:99999999", "", "a b", "xn--lcalhost-50a",
)  # fmt: skip


@pytest.mark.parametrize("host", HOSTILE_HOSTS)
@pytest.mark.parametrize("path", ["/about", "/ui", "/predict_image"])
def test_another_host_is_refused(idle: Callable[..., Any], host: str, path: str) -> None:
    answer = idle().request("POST" if "predict" in path else "GET", path, headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "host_not_allowed")
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("hosts", "accepted"),
    [
        ("", ["localhost", "LOCALHOST:3000", "localhost.", "127.0.0.1:80", "[::1]:3000"]),
        ("api.example, *.inside", ["api.example:443", "a.inside", "a.b.inside", "localhost"]),
        ("*", ["evil.example", "anything"]),
    ],
)
def test_configured_hosts_and_localhost_are_accepted(idle: Callable[..., Any], hosts: str, accepted: list[str]) -> None:
    served = idle(hosts=hosts)
    for host in accepted:
        assert served.request("GET", "/about", headers={"Host": host}).status_code == 200
    for host in ("inside", "xinside", "b.api.example"):
        assert served.request("GET", "/about", headers={"Host": host}).status_code == (200 if hosts == "*" else 400)


def test_a_whole_address_in_the_request_line_names_a_host_too() -> None:
    headers = Headers({"host": "localhost"})
    check_host(headers, "http://localhost:3000/about", ())
    with pytest.raises(HostNotAllowed):
        check_host(headers, "http://evil.example/about", ())


def test_health_checks_may_name_any_host(idle: Callable[..., Any]) -> None:
    assert idle().request("GET", "/livez", headers={"Host": "10.1.2.3:3000"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 503),  # accepted: no worker is running
        ({"Origin": "http://localhost"}, 503),
        ({"Origin": "https://localhost"}, 503),  # a proxy may have ended TLS
        ({"Origin": "http://inside", "Sec-Fetch-Site": "same-origin"}, 503),  # a proxy may have changed the host
        ({"Sec-Fetch-Site": "none"}, 503),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:8080"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[evil"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:8080"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
    ],
)
def test_only_pages_of_the_service_itself_may_post(
    idle: Callable[..., Any], headers: dict[str, str], status: int
) -> None:
    answer = idle().request("POST", "/predict_image", headers=headers, **FILE)
    assert (answer.status_code, answer.json()["error"]["code"] == "cross_site_request") == (status, status == 403)
    assert idle().request("GET", "/about", headers=headers).status_code == 200  # its answer cannot be read
