"""Great Expectations' HTML pages -> the same pages without anything fetched from elsewhere.

As written they load styles and scripts from six hosts, and a logo whose address carries the time of the run: opening a
page would tell those hosts about it, and without a network it has no style at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from deepfake_detector.validation.leak_probes import Probe
from deepfake_detector.validation.results import Answer, Check, verdict_of

_ELSEWHERE = re.compile(
    r"<script[^>]*\ssrc=\"https?://[^>]*>.*?</script>|<link[^>]*\shref=\"https?://[^>]*>|<img[^>]*\ssrc=\"https?://[^>]*>"
    r"|<footer>.*?</footer>|url\(['\"]?https?://[^)]*\)",
    re.DOTALL | re.IGNORECASE,
)
_ORDER = ("stopped", "warned", "passed")
_SCRIPTS = re.compile(r"<script\b.*?</script>", re.DOTALL | re.IGNORECASE)  # all of them call jQuery, which is gone
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


def keep_at_home(folder: Path, checks: Sequence[Check], probes: Sequence[Probe] = ()) -> None:
    """Rewrite every page below `folder` so that it needs no network and no script, and put a front page before them."""
    for page in sorted(folder.rglob("*.html")):
        html = _SCRIPTS.sub("", _ELSEWHERE.sub("", page.read_text(encoding="utf-8")))
        page.write_text(html.replace("</head>", f"{_STYLE}\n</head>", 1), encoding="utf-8")
    # The front page that comes with it is drawn by a script from another host.
    (folder / "index.html").write_text(_front_page(folder, checks, probes), encoding="utf-8")


def _front_page(folder: Path, checks: Sequence[Check], probes: Sequence[Probe]) -> str:
    """What stopped the road first, then what was warned of, then the rest."""
    answers: list[Answer] = sorted([*checks, *probes], key=lambda answer: _ORDER.index(verdict_of(answer)))
    counts = ", ".join(f"{sum(verdict_of(a) == word for a in answers)} {word}" for word in _ORDER)
    rows = "".join(_row(answer) for answer in answers)
    pages = sorted(page.relative_to(folder).as_posix() for page in (folder / "validations").rglob("*.html"))
    links = "".join(f'<li><a href="{escape(page)}">{escape(page.split("/")[1])}</a></li>' for page in pages)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data checks</title>{_STYLE}</head>'
        f'<body><div class="container-fluid"><h1>Data checks</h1><p>{counts}</p>'
        f"<table><tr><th></th><th>Asked, and if it fails</th><th>Found</th><th>Why it is asked</th></tr>{rows}</table>"
        f"<h2>In full, by Great Expectations</h2><ul>{links}</ul></div></body></html>\n"
    )


def _row(answer: Answer) -> str:
    word = verdict_of(answer)
    if isinstance(answer, Check):
        more = answer.files_total - len(answer.files)
        files = [*answer.files, f"and {more} more"] if more > 0 else answer.files
        found = escape(answer.observed) + "".join(f"<br><code>{escape(name)}</code>" for name in files)
        name, reason = answer.name, answer.reason
    else:
        measured = answer.auc is not None
        found = f"AUC {answer.auc:.3f} on {answer.images} pictures" if measured else "not measured"
        name, reason = f"probe {answer.name}", answer.reason
    return (
        f'<tr><td class="{word}">{word}</td><td>{escape(name)} <span class="badge">{answer.severity}</span></td>'
        f"<td>{found}</td><td>{escape(reason)}</td></tr>"
    )
