"""Results of a checkpoint -> Data Docs: pages that need no network, with a front page; equal data give equal bytes.

As Great Expectations writes them, pages load styles and scripts from six hosts and hold the time of the run in their
names and text: opening one would report it to those hosts, without a network it has no style, and a second run of the
same checks differs from the first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal, cast

from great_expectations.checkpoint.actions import ActionContext, ValidationAction
from great_expectations.checkpoint.checkpoint import CheckpointResult
from great_expectations.core.expectation_suite import ExpectationSuite
from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.render.components import RenderedDocumentContent
from great_expectations.render.renderer.page_renderer import ExpectationSuitePageRenderer, ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView

from deepfake_detector.io import atomic_directory
from deepfake_detector.validation.check_results import checkpoint_results, suite_results
from deepfake_detector.validation.leak_probes import LeakProbe
from deepfake_detector.validation.results import CheckResult, Result, Status, result_name, status_of

_RESOURCES = re.compile(  # styles, icons, fonts and scripts; all scripts call jQuery, which is among them
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<footer>.*?</footer>|url\(['\"]?https?://[^)]*\)",
    re.DOTALL | re.IGNORECASE,
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # drawn anew for elements of each page
_TIME_ROW = re.compile(r"<tr>(?:(?!</tr>).)*Run (?:Time|Name)(?:(?!</tr>).)*</tr>", re.DOTALL)
_ROW = re.compile(r"<tr>(?:(?!</tr>).)*</tr>", re.DOTALL)
_GREEN, _GREY = "fa-check-circle text-success", "fa-minus-circle text-secondary"
_ORDER: tuple[Status, ...] = ("stopped", "warned", "passed", "not measured")
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
.fa-minus-circle::before { content: "\\2013"; color: #6b7280; font-weight: 700; font-style: normal }
.badge { padding: .05rem .4rem; border-radius: .3rem; background: #eef2f6; white-space: nowrap }
.passed { color: #1a7f37 } .warned { color: #9a6700; font-weight: 700 } .stopped { color: #c62828; font-weight: 700 }
.not-measured { color: #6b7280; white-space: nowrap }
code { overflow-wrap: anywhere } .collapse { display: block }
i { font-style: normal }
form, .sticky > .card:first-child, .col-lg-2 h6, [data-toggle="collapse"], .btn-group-toggle { display: none }
</style>"""


class DataDocsPages(ValidationAction):
    """Replace the site's pages by those of this run, and make the front page.

    Attributes:
        site: of `data_docs_sites` in great_expectations.yml; its folder is replaced as a whole.
        probes: JSON file with the leak probes for the front page, relative to the folder of great_expectations.yml.
    """

    type: Literal["data_docs_pages"] = "data_docs_pages"
    site: str
    probes: str

    def run(
        self,
        checkpoint_result: CheckpointResult,
        action_context: ActionContext | None = None,  # noqa: ARG002 - part of the interface
    ) -> dict[str, Any]:
        """Write the pages.

        Returns:
            `front_page`, its path.

        Raises:
            CheckCrashed: an expectation raised an exception; the older pages stay.
        """
        context = self._resolve_context().context
        root = Path(cast("str", context.root_directory))
        folder = (root / context.list_data_docs_sites()[self.site]["store_backend"]["base_directory"]).resolve()
        checks, results = checkpoint_results(checkpoint_result), checkpoint_result.run_results.values()
        with atomic_directory(folder) as pages:
            for definition in checkpoint_result.checkpoint_config.validation_definitions:
                _write_page(pages / "expectations" / f"{definition.suite.name}.html", suite_page(definition.suite))
            for result in results:
                _write_page(pages / "validations" / f"{result.suite_name}.html", validation_page(result))
            probes, names = _read_probes(root / self.probes), [each.suite_name for each in results]
            _write_page(pages / "index.html", front_page(checks, probes, names))
        return {"front_page": str(folder / "index.html")}


def validation_page(result: ExpectationSuiteValidationResult) -> str:
    """Great Expectations' page of one suite's results, without times, paths of this machine and external resources."""
    checks = suite_results(result)
    unmeasured = [check.name for check in checks if status_of(check) == "not measured"]
    timeless = ExpectationSuiteValidationResult(
        success=bool(result.success),
        results=result.results,
        suite_name=result.suite_name,
        suite_parameters=result.suite_parameters,
        statistics=_statistics(checks),
        meta={
            "great_expectations_version": result.meta.get("great_expectations_version"),
            "batch_spec": {"data_asset_name": result.asset_name},
        },
    )
    html = _html(ValidationResultsPageRenderer().render(timeless))
    html = _TIME_ROW.sub("", html).replace("../../../../", "../").replace(" / __none__", "")
    if unmeasured:
        described = re.compile(rf">\s*(?:{'|'.join(re.escape(escape(name)) for name in unmeasured)}) \[")
        html = _ROW.sub(lambda row: _grey(row[0]) if described.search(row[0]) else row[0], html)
    if len(unmeasured) == len(checks):
        html = _grey(html).replace(" Succeeded", " Nothing to compare", 1)
    return _self_contained(html)


def suite_page(suite: ExpectationSuite) -> str:
    """Great Expectations' page of a suite, without external resources."""
    return _self_contained(_html(ExpectationSuitePageRenderer().render(suite)))  # type: ignore[no-untyped-call]


def front_page(checks: Sequence[CheckResult], probes: Sequence[LeakProbe], suites: Iterable[str]) -> str:
    """Failures of severity `stop` first, then warnings, then the rest, then what was not measured; links to suites."""
    results: list[Result] = sorted([*checks, *probes], key=lambda result: _ORDER.index(status_of(result)))
    counts = ", ".join(f"{sum(status_of(result) == status for result in results)} {status}" for status in _ORDER)
    links = "".join(f'<li><a href="validations/{name}.html">{name}</a></li>' for name in suites)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data checks</title>{_STYLE}</head>'
        f'<body><div class="container-fluid"><h1>Data checks</h1><p>{counts}</p>'
        "<table><tr><th>Status</th><th>Check and severity</th><th>Result</th><th>Why it matters</th></tr>"
        f"{''.join(map(_row, results))}</table><h2>All results, by Great Expectations</h2>"
        f"<ul>{links}</ul></div></body></html>\n"
    )


def _statistics(checks: Sequence[CheckResult]) -> dict[str, Any]:
    """Counts for the page, of what was measured."""
    statuses = [status_of(check) for check in checks if status_of(check) != "not measured"]
    passed = statuses.count("passed")
    return {
        "evaluated_expectations": len(statuses),
        "successful_expectations": passed,
        "unsuccessful_expectations": len(statuses) - passed,
        "success_percent": 100 * passed / len(statuses) if statuses else None,
    }


def _html(document: RenderedDocumentContent) -> str:
    return str(DefaultJinjaPageView().render(document))  # type: ignore[no-untyped-call]


def _self_contained(html: str) -> str:
    """The page with our style instead of external resources and scripts, and with the same element ids every time."""
    html = _RESOURCES.sub("", html)
    numbers = {found: f"part-{number}" for number, found in enumerate(dict.fromkeys(_UUID.findall(html)), 1)}
    html = _UUID.sub(lambda found: numbers[found[0]], html)
    return html.replace("</head>", f"{_STYLE}\n</head>", 1)


def _grey(html: str) -> str:
    return html.replace(_GREEN, _GREY)


def _write_page(path: Path, html: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")


def _read_probes(path: Path) -> list[LeakProbe]:
    """The probes that the stage wrote; none if it did not."""
    if not path.is_file():
        return []
    return [LeakProbe(**probe) for probe in json.loads(path.read_text(encoding="utf-8"))["probes"]]


def _row(result: Result) -> str:
    status = status_of(result)
    if isinstance(result, CheckResult):
        observed = escape(result.observed) + "".join(f"<br><code>{escape(name)}</code>" for name in result.listed_files)
    elif result.auc is None:
        observed = "not measured"
    else:
        observed = f"AUC {result.auc:.3f} on {result.images} pictures"
    return (
        f'<tr><td class="{status.replace(" ", "-")}">{status}</td>'
        f'<td>{escape(result_name(result))} <span class="badge">{result.severity}</span></td>'
        f"<td>{observed}</td><td>{escape(result.reason)}</td></tr>"
    )
