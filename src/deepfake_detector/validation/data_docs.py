"""Great Expectations' HTML pages -> the same pages without external resources, and a front page.

As written they load styles and scripts from six hosts, and a logo whose address carries the time of the run: opening a
page would report it to those hosts, and without a network the page has no style.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from deepfake_detector.validation.leak_probes import LeakProbe
from deepfake_detector.validation.results import CheckResult, Result, Status, result_name, status_of

_EXTERNAL = re.compile(
    r"<script[^>]*\ssrc=\"https?://[^>]*>.*?</script>|<link[^>]*\shref=\"https?://[^>]*>|<img[^>]*\ssrc=\"https?://[^>]*>"
    r"|<footer>.*?</footer>|url\(['\"]?https?://[^)]*\)",
    re.DOTALL | re.IGNORECASE,
)
_SCRIPTS = re.compile(r"<script\b.*?</script>", re.DOTALL | re.IGNORECASE)  # all of them call jQuery, which is removed
_ORDER: tuple[Status, ...] = ("stopped", "warned", "passed")
_STYLE = """<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; margin: 0; background: #fff }
nav.navbar { padding: .6rem 2rem; border-bottom: 1px solid #d9e2ec; height: auto !important }
.breadcrumb { list-style: none; display: flex; gap: .5rem; padding: 0; margin: 0 }
.breadcrumb li + li::before { content: "/ "; color: #9fb3c8 }
a { color: #0b69a3; text-decoration: none } a:hover { text-decoration: underline }
.container-fluid { padding: 1rem 2rem; max-width: 1200px }
.row { display: flex; flex-wrap: wrap; gap: 2rem } .col-lg-2 { flex: 0 0 190px } .col-lg-10 { flex: 1; min-width: 0 }
.list-unstyled, .nav { list-style: none; padding-left: 0 } .alert { padding: 0; margin: .5rem 0 }
h1, h2, h3, h4, h5, h6 { margin: 1.4rem 0 .4rem } h6 { font-size: .95rem }
table { border-collapse: collapse; width: 100%; margin: .3rem 0 1rem }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #e4e9ef; vertical-align: top }
.fa-check-circle::before { content: "\\2713"; color: #1a7f37; font-weight: 700; font-style: normal }
.fa-times::before, .fa-exclamation-triangle::before { content: "\\2717"; color: #c62828; font-weight: 700 }
.badge { padding: .05rem .4rem; border-radius: .3rem; background: #eef2f6; white-space: nowrap }
.passed { color: #1a7f37 } .warned { color: #9a6700; font-weight: 700 } .stopped { color: #c62828; font-weight: 700 }
code { overflow-wrap: anywhere } .collapse { display: block }
i { font-style: normal }
form, .col-lg-2 h6, [data-toggle="collapse"], .btn-group-toggle { display: none }
</style>"""


def make_self_contained(folder: Path, checks: Sequence[CheckResult], probes: Sequence[LeakProbe] = ()) -> None:
    """Rewrite every page below `folder` so that it needs no network and no script, and add the front page."""
    for page in sorted(folder.rglob("*.html")):
        html = _SCRIPTS.sub("", _EXTERNAL.sub("", page.read_text(encoding="utf-8")))
        page.write_text(html.replace("</head>", f"{_STYLE}\n</head>", 1), encoding="utf-8")
    # Great Expectations' own front page is drawn by an external script.
    (folder / "index.html").write_text(_front_page(folder, checks, probes), encoding="utf-8")


def _front_page(folder: Path, checks: Sequence[CheckResult], probes: Sequence[LeakProbe]) -> str:
    """Failures of severity `stop` first, then warnings, then the rest."""
    results: list[Result] = sorted([*checks, *probes], key=lambda result: _ORDER.index(status_of(result)))
    counts = ", ".join(f"{sum(status_of(result) == status for result in results)} {status}" for status in _ORDER)
    rows = "".join(_row(result) for result in results)
    pages = sorted(page.relative_to(folder).as_posix() for page in (folder / "validations").rglob("*.html"))
    links = "".join(f'<li><a href="{escape(page)}">{escape(page.split("/")[1])}</a></li>' for page in pages)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data checks</title>{_STYLE}</head>'
        f'<body><div class="container-fluid"><h1>Data checks</h1><p>{counts}</p>'
        "<table><tr><th>Status</th><th>Check and severity</th><th>Result</th><th>Why it matters</th></tr>"
        f"{rows}</table>"
        f"<h2>All results, by Great Expectations</h2><ul>{links}</ul></div></body></html>\n"
    )


def _row(result: Result) -> str:
    status = status_of(result)
    if isinstance(result, CheckResult):
        observed = escape(result.observed) + "".join(f"<br><code>{escape(name)}</code>" for name in result.listed_files)
    elif result.auc is None:
        observed = "not measured"
    else:
        observed = f"AUC {result.auc:.3f} on {result.images} pictures"
    return (
        f'<tr><td class="{status}">{status}</td>'
        f'<td>{escape(result_name(result))} <span class="badge">{result.severity}</span></td>'
        f"<td>{observed}</td><td>{escape(result.reason)}</td></tr>"
    )
