"""Settings: read, strict, and clear about what is wrong."""

from pathlib import Path

import pytest
import yaml

from deepfake_detector.config import read_settings
from deepfake_detector.errors import SettingsError

ROOT = Path(__file__).parents[2]


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
    [("train", "epochs", 0), ("train", "epochs", "8"), ("prepare", "side_px", 130), ("prepare", "reencode", 100),
     ("download", "held_out_share", 0.5), ("validate", "brightness", [10, 300]),
     ("validate", "severity", {"metadata": "maybe"}), ("validate", "severity", {"metadata": "stop"}),
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


def source(**changed: object) -> dict:
    return {"name": "faces", "kind": "archive", "place": "faces.zip", "fake_kind": "swap"} | changed


def test_sources_are_read_in_order_and_the_checksum_is_optional(tmp_path: Path, content: dict) -> None:
    content["download"]["sources"] = [source(), source(name="more", kind="labelled", sha256="ab")]
    download = read_settings(written(tmp_path, content)).download
    assert [(s.name, s.kind, s.sha256) for s in download.sources] == [
        ("faces", "archive", ""),
        ("more", "labelled", "ab"),
    ]
    assert download.fake_kinds == {"faces": "swap", "more": "swap"}


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([], r"download\.sources: .*at least 1"),
        ([source(), source()], "the same name"),
        ([source(name="../up")], r"download\.sources\.0\.name"),
        ([source(kind="web")], r"download\.sources\.0\.kind"),
        ([source(fake_kind="drawn")], r"download\.sources\.0\.fake_kind"),
        ([source(place="")], "source faces: `place`"),
        ([source(kind="sample")], "source faces: `place`"),
        ([source(kind="sample", place=""), source(name="b", kind="sample", place="")], "only once"),
    ],
)
def test_sources_that_cannot_be(tmp_path: Path, content: dict, sources: list, said: str) -> None:
    content["download"]["sources"] = sources
    with pytest.raises(SettingsError, match=said):
        read_settings(written(tmp_path, content))


def test_a_source_is_changed_from_the_command_line_as_dvc_does_it(tmp_path: Path, content: dict) -> None:
    """`dvc exp run -S download.sources.0.kind=archive -S download.sources.0.place=/data/my-faces.zip`."""
    from dvc.utils.hydra import apply_overrides

    path = written(tmp_path, content)
    apply_overrides(path, ["download.sources.0.kind=archive", "download.sources.0.place=/data/my-faces.zip"])
    (changed,) = read_settings(path).download.sources
    assert (changed.name, changed.kind, changed.place) == ("faces", "archive", "/data/my-faces.zip")


def test_every_choosable_severity_must_be_chosen(tmp_path: Path, content: dict) -> None:
    del content["validate"]["severity"]["border"]
    with pytest.raises(SettingsError, match="missing: border"):
        read_settings(written(tmp_path, content))


@pytest.mark.parametrize(
    ("key", "value"),
    [("learning_rate", [0.01, 0.001]), ("dropout", [0.0, 1.0]), ("batch_size", []), ("batch_size", [0]),
     ("blend", [0.0, 0.95]), ("warmup_epochs", [0.5, 2]), ("patience", [1, 2])],
)  # fmt: skip
def test_a_range_that_train_could_not_take_is_refused(tmp_path: Path, content: dict, key: str, value: object) -> None:
    content["tune"][key] = value
    with pytest.raises(SettingsError, match=rf"tune\.{key}"):
        read_settings(written(tmp_path, content))
