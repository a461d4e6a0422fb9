from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_detector.errors import SettingsError
from deepfake_detector.serving.options import read_options


def test_without_variables_there_is_no_token_and_no_prediction_log() -> None:
    options = read_options({"PATH": "/bin"})
    assert (options.token, options.prediction_log) == (None, None)
    assert options.workers >= 1


def test_variables_are_read_and_the_token_is_not_printed() -> None:
    given = {
        "DEEPFAKE_SERVE_TOKEN": "s" * 16,
        "DEEPFAKE_SERVE_WORKERS": "3",
        "DEEPFAKE_SERVE_QUEUE": "20",
        "DEEPFAKE_SERVE_PREDICTION_LOG": "/log/p.jsonl",
    }
    options = read_options(given)
    assert options.token is not None
    assert options.token.get_secret_value() == "s" * 16
    assert (options.workers, options.queue, options.prediction_log) == (3, 20, Path("/log/p.jsonl"))
    assert "sss" not in repr(options)


def test_the_root_path_is_one_or_more_folders() -> None:
    assert read_options({"DEEPFAKE_SERVE_ROOT_PATH": "/tools/deepfake-1"}).root_path == "/tools/deepfake-1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("DEEPFAKE_SERVE_ROOT_PATH", value) for value in ("deepfake", "/deepfake/", "/", "//host", "/a b", "/..x/?")),
        ("DEEPFAKE_SERVE_TOKENN", "s" * 16),
        ("DEEPFAKE_SERVE_TOKEN", ""),
        ("DEEPFAKE_SERVE_WORKERS", "0"),
        ("DEEPFAKE_SERVE_QUEUE", "many"),
    ],
)
def test_an_invalid_variable_is_named_without_its_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        read_options({name: value})
    assert "sss" not in str(caught.value)


def test_a_renamed_variable_is_refused_with_its_new_name() -> None:
    with pytest.raises(SettingsError, match="DEEPFAKE_SERVE_LINE was renamed") as caught:
        read_options({"DEEPFAKE_SERVE_LINE": "64"})
    assert "DEEPFAKE_SERVE_QUEUE" in caught.value.hint
