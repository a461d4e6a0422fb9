"""Settings: read, strict, and clear about what is wrong."""

from pathlib import Path

import pytest
import yaml

from deepfake_detector.errors import SettingsError
from deepfake_detector.settings import read_settings

ROOT = Path(__file__).parents[1]


@pytest.fixture
def content() -> dict:
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_the_repositorys_own_settings_are_valid() -> None:
    settings = read_settings(ROOT / "params.yaml")
    assert settings.train.network == "residual"
    with pytest.raises(AttributeError):
        settings.train.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("train", "epochs", 0), ("train", "epochs", "8"), ("prepare", "side_px", 130), ("download", "source", "web"),
     ("evaluate", "flag_false_positives", 1.5), ("train", "epoch", 8)],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named_by_its_full_path(
    tmp_path: Path, content: dict, section: str, key: str, value: object
) -> None:
    content[section][key] = value
    with pytest.raises(SettingsError, match=rf"{section}\.{key}"):
        read_settings(written(tmp_path, content))


def test_a_missing_key_is_named_by_its_full_path(tmp_path: Path, content: dict) -> None:
    del content["download"]["sample"]["seed"]
    with pytest.raises(SettingsError, match=r"download\.sample\.seed"):
        read_settings(written(tmp_path, content))


def test_missing_file_and_bad_yaml(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no settings"):
        read_settings(tmp_path / "nowhere.yaml")
    (tmp_path / "params.yaml").write_text("a: [1", encoding="utf-8")
    with pytest.raises(SettingsError, match="not readable YAML"):
        read_settings(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("", encoding="utf-8")
    with pytest.raises(SettingsError, match="whole file"):
        read_settings(tmp_path / "params.yaml")
