"""Great Expectations' HTML pages -> the same pages without anything fetched from elsewhere.

As written they load styles and scripts from six hosts, and a logo whose address carries the time of the run: opening a
page would tell those hosts about it, and without a network it has no style at all.
"""

from __future__ import annotations

import re
from pathlib import Path

_ELSEWHERE = re.compile(
    r"<script[^>]*\ssrc=\"https?://[^>]*>.*?</script>|<link[^>]*\shref=\"https?://[^>]*>|<img[^>]*\ssrc=\"https?://[^>]*>"
    r"|<footer>.*?</footer>",
    re.DOTALL | re.IGNORECASE,
)
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
.badge { padding: .05rem .4rem; border-radius: .3rem; background: #eef2f6 } .collapse { display: block }
i { font-style: normal } form, [data-toggle="collapse"], .btn-group-toggle { display: none }
</style>"""


def keep_at_home(folder: Path) -> None:
    """Rewrite every page below `folder` so that it needs no network, no script, and tells nobody that it was opened."""
    for page in sorted(folder.rglob("*.html")):
        html = _SCRIPTS.sub("", _ELSEWHERE.sub("", page.read_text(encoding="utf-8")))
        page.write_text(html.replace("</head>", f"{_STYLE}\n</head>", 1), encoding="utf-8")
