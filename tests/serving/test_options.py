from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_detector.errors import SettingsError
from deepfake_detector.serving.options import read_options


def test_without_variables_all_is_open_small_and_unlogged() -> None:
    options = read_options({"PATH": "/bin"})
    assert (options.token, options.prediction_log) == (None, None)
    assert options.workers >= 1


def test_variables_are_read_and_the_token_does_not_show() -> None:
    given = {
        "DEEPFAKE_SERVE_TOKEN": "s" * 16,
        "DEEPFAKE_SERVE_WORKERS": "3",
        "DEEPFAKE_SERVE_PREDICTION_LOG": "/log/p.jsonl",
    }
    options = read_options(given)
    assert options.token is not None
    assert options.token.get_secret_value() == "s" * 16
    assert (options.workers, options.prediction_log) == (3, Path("/log/p.jsonl"))
    assert "sss" not in repr(options)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEEPFAKE_SERVE_TOKENN", "s" * 16),
        ("DEEPFAKE_SERVE_TOKEN", ""),
        ("DEEPFAKE_SERVE_WORKERS", "0"),
        ("DEEPFAKE_SERVE_LINE", "many"),
    ],
)
def test_a_mistake_stops_the_service_and_is_named_without_its_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        read_options({name: value})
    assert "sss" not in str(caught.value)
