"""The summary on the terminal: a line per result with its status, and the counts; and the rejection of the data."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from deepfake_detector.config import read_settings
from deepfake_detector.errors import DataRejected
from deepfake_detector.validation.leak_probes import LeakProbe
from deepfake_detector.validation.results import (
    _SETTINGS,
    CheckResult,
    Result,
    print_summary,
    raise_if_stopped,
    status_of,
)

ROOT = Path(__file__).parents[2]

CHECKS = [
    CheckResult("readable", "stop", True, "why", "0 of 36 fail"),
    CheckResult("sharpness", "warn", False, "why", "2 of 36 fail", 36, 2, ("a.jpg",), 2),
    CheckResult("labels", "stop", False, "why", "1 of 36 fail, for example [2]"),
]
PROBES = [
    LeakProbe("metadata", 0.512, 0.48, 0.54, 0.6, "stop", True, "low", 72),
    LeakProbe("thumbnail", 0.934, 0.92, 0.95, 0.85, "warn", False, "a thumbnail alone separates", 72),
    LeakProbe("border", None, None, None, 0.6, "warn", True, "not measured: too few", 8),
]


def printed(width: int = 120) -> list[str]:
    stream = io.StringIO()
    print_summary(CHECKS, PROBES, Console(file=stream, width=width))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_status_follows_from_result_and_severity() -> None:
    results: list[Result] = [*CHECKS, *PROBES]
    assert [status_of(result) for result in results] == [
        "passed", "warned", "stopped", "passed", "warned", "not measured",
    ]  # fmt: skip


def test_a_check_without_anything_to_compare_is_not_measured_unless_it_failed() -> None:
    assert status_of(replace(CHECKS[0], measured=False)) == "not measured"
    assert status_of(replace(CHECKS[2], measured=False)) == "stopped"


def test_what_was_not_measured_is_printed_in_grey() -> None:
    stream = io.StringIO()
    print_summary([replace(CHECKS[0], measured=False)], [], Console(file=stream, force_terminal=True, width=80))
    assert "\x1b[90mnot measured" in stream.getvalue()
    assert "\x1b[32m" not in stream.getvalue()


def test_each_result_has_a_line_and_the_last_line_counts() -> None:
    lines = printed()
    assert len(lines) == 8
    assert lines[3].split(maxsplit=2) == ["stopped", "labels", "1 of 36 fail, for example [2]"]  # no markup
    assert "probe metadata" in lines[4]
    assert "AUC 0.512" in lines[4]
    assert "a thumbnail alone separates" in lines[5]
    assert "not measured: too few" in lines[6]
    assert lines[-1] == "2 passed, 2 warned, 1 stopped, 1 not measured"


def test_a_narrow_terminal_cuts_nothing_off() -> None:
    text = "".join(part for line in printed(48) for part in line.split())
    assert "1of36fail,forexample[2]" in text


def test_a_failed_check_of_severity_stop_rejects_the_data_with_its_reason_and_files() -> None:
    raise_if_stopped(CHECKS[:2], PROBES)
    more = replace(CHECKS[2], files=("a.jpg", "b.jpg"), files_total=7)
    stopped = replace(PROBES[1], severity="stop")
    with pytest.raises(DataRejected) as caught:
        raise_if_stopped([*CHECKS[:2], more], [stopped])
    assert caught.value.message.splitlines()[1:] == [
        "  labels: 1 of 36 fail, for example [2]; why",
        "      a.jpg",
        "      b.jpg",
        "      and 5 more",
        "  probe thumbnail: a thumbnail alone separates (see validate.severity.thumbnail)",
    ]


@pytest.mark.parametrize("name", sorted(_SETTINGS))
def test_a_failed_check_names_what_decides_it(name: str) -> None:
    with pytest.raises(DataRejected, match=re.escape(f"(see {_SETTINGS[name]})")):
        raise_if_stopped([CheckResult(name, "stop", False, "why", "1 fails")])


def test_every_check_that_can_stop_and_every_setting_exist() -> None:
    suites = [json.loads(file.read_text(encoding="utf-8")) for file in (ROOT / "gx" / "expectations").glob("*.json")]
    assert set(_SETTINGS) <= {each["meta"]["name"] for suite in suites for each in suite["expectations"]}
    sections = asdict(read_settings(ROOT / "params.yaml"))
    for text in _SETTINGS.values():
        for key in re.findall(r"(?:validate|prepare|download)\.[a-z_.]+[a-z]", text):
            value: object = sections
            for part in key.split("."):
                assert isinstance(value, dict)
                value = value[part]


def test_a_failed_probe_names_its_severity() -> None:
    probe = replace(PROBES[1], name="border (kaggle)", severity="stop")
    with pytest.raises(DataRejected, match=r"see validate\.severity\.border\)"):
        raise_if_stopped([], [probe])
