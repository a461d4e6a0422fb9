"""The page and Swagger UI behind a reverse proxy that removes a path prefix, of which the service knows nothing."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

PREFIX = "/tools/deepfake"


@pytest.fixture
def proxied(address: str) -> Iterator[str]:
    """The address of a proxy that serves PREFIX/X as the service's /X, and nothing else."""

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            service = HTTPConnection(urlsplit(address).netloc, timeout=60)
            service.request(self.command, self.path.removeprefix(PREFIX), body, dict(self.headers))
            answer = service.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.read())
            service.close()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}"
        server.shutdown()


def test_the_page_and_the_api_page_work_below_a_prefix(browser: Any, proxied: str, files: dict[str, Path]) -> None:
    page = browser.new_page()
    requested: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{proxied}/")
    assert page.url == f"{proxied}/ui/"
    page.set_input_files("#file", str(files["red.png"]))
    page.wait_for_selector(".verdict")

    page.get_by_role("link", name="API").click()
    page.wait_for_url(f"{proxied}/docs/")
    page.locator("#operations-default-about").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table").wait_for()
    assert f"{proxied}/about" in page.inner_text(".request-url")
    assert page.inner_text(".live-responses-table tbody .response-col_status").split()[0] == "200"
    assert [url for url in requested if not url.startswith((f"{proxied}/", "blob:", "data:"))] == []
    assert problems == []
    page.close()
