"""Host, Origin and Sec-Fetch-Site of a request -> accepted, or refused: no page of another site may use the service.

A page that has its own name resolve to our address (DNS rebinding) sends that name as Host. A page that posts a form to
our address sends its own Origin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from deepfake_detector.serving.errors import CrossSiteRequest, HostNotAllowed
from deepfake_detector.serving.options import ANY_HOST, LOCAL_HOSTS, PREFIX

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.IGNORECASE)
_TARGET = re.compile(r"^https?://(?P<authority>[^/]*)", re.IGNORECASE)


def check_host(headers: Headers, target: str, hosts: Sequence[str]) -> None:
    """Check the host that a request names, in the header and, if it is a whole address, in its target.

    HTTP/1.0 knows requests without a host; no browser sends them, so they are accepted.

    Args:
        headers: of the request.
        target: path or whole address in the request line.
        hosts: the accepted ones beside localhost; see `ServingOptions.hosts`.

    Raises:
        HostNotAllowed: it is none of them.
    """
    if ANY_HOST in hosts:
        return
    named = headers.getlist("host")
    if (whole := _TARGET.match(target)) is not None:
        named.append(whole["authority"])
    for authority in named:
        if not _is_allowed(authority, hosts):
            raise HostNotAllowed(
                f"this service does not answer for the host {authority[:100]!r}",
                f"use localhost, or list the host in the environment variable {PREFIX}HOSTS",
            )


def _is_allowed(authority: str, hosts: Sequence[str]) -> bool:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    host = match["host"].lower().removesuffix(".")
    return any(
        host == allowed or (allowed.startswith("*.") and host.endswith(allowed[1:]))
        for allowed in (*LOCAL_HOSTS, *hosts)
    )


def check_origin(method: str, headers: Headers) -> None:
    """Check that a request that changes or computes something was not sent by a browser for another site's page.

    The rules are those of `net/http.CrossOriginProtection` in Go 1.25: Sec-Fetch-Site decides where it is sent, else
    Origin must name the host of the request. Programs send neither.

    Args:
        method: GET, HEAD and OPTIONS are accepted: their answers cannot be read by other sites.
        headers: of the request.

    Raises:
        CrossSiteRequest: a page of another site, or of another port of this host, sent it.
    """
    if method in SAFE_METHODS:
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        accepted = site in ("same-origin", "none")
    else:
        accepted = origin is None or _authority_of(origin) == headers.get("host", "").lower()
    if not accepted:
        source = origin or site
        raise CrossSiteRequest(
            f"a page of another origin sent this request ({str(source)[:100]!r})",
            "open the page of this service, or call it from a program",
        )


def _authority_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # invalid brackets
        return ""
