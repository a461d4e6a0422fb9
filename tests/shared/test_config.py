"""Settings: read, strict, and clear about what is wrong."""

from pathlib import Path

import pytest
import yaml

from deepfake_detector.config import read_settings
from deepfake_detector.errors import SettingsError
from deepfake_detector.renamed_settings import RENAMED_KEYS

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
     ("evaluate", "flag_false_positive_rate", 1.5), ("train", "epoch", 8)],
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
    return {"name": "faces", "kind": "archive", "location": "faces.zip", "fake_kind": "swap"} | changed


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
        ([source(location="")], "source faces: `location`"),
        ([source(kind="sample")], "source faces: `location`"),
        ([source(location=[])], "source faces: `location`"),
        ([source(location=[""])], "location"),
        ([source(kind="videos", use="test", location=["a.zip", "b.zip"])], "a list of zips is for kinds archive"),
        ([source(kind="kaggle", location=["a.zip"])], "a list of zips is for kinds archive and labelled"),
        ([source(kind="sample", location=""), source(name="b", kind="sample", location="")], "only once"),
        ([source(name="left_out")], "source left_out: reports use this name"),
        ([source(use="both")], r"download\.sources\.0\.use"),
        ([source(use="test")], "one at least must be trained on"),
        ([source(weight=0)], r"download\.sources\.0\.weight"),
        ([source(weight=101)], r"download\.sources\.0\.weight"),
        ([source(family="no spaces")], r"download\.sources\.0\.family"),
        ([source(), source(name="clips", kind="videos")], "source clips: videos are tested, not trained on"),
    ],
)
def test_sources_that_cannot_be(tmp_path: Path, content: dict, sources: list, said: str) -> None:
    content["download"]["sources"] = sources
    with pytest.raises(SettingsError, match=said):
        read_settings(written(tmp_path, content))


def test_a_source_has_a_use_a_family_and_a_weight(tmp_path: Path, content: dict) -> None:
    content["download"]["sources"] = [
        source(name="swaps", family="dfdc", weight=2),
        source(name="more_swaps", family="dfdc"),
        source(name="faces"),
        source(name="portraits", use="test", fake_kind="synthetic"),
        source(name="clips", kind="videos", use="test"),
    ]
    download = read_settings(written(tmp_path, content)).download
    assert download.families == {"swaps": "dfdc", "more_swaps": "dfdc", "faces": "faces"}
    assert download.weights == {"swaps": 2.0, "more_swaps": 1.0, "faces": 1.0}
    assert download.left_out == {"portraits"}
    assert [each.name for each in download.videos] == ["clips"]
    assert download.fake_kinds == dict.fromkeys(("swaps", "more_swaps", "faces"), "swap") | {"portraits": "synthetic"}


def test_a_source_is_changed_from_the_command_line_as_dvc_does_it(tmp_path: Path, content: dict) -> None:
    """`dvc exp run -S download.sources.0.kind=archive -S download.sources.0.location=/data/my-faces.zip`."""
    from dvc.utils.hydra import apply_overrides

    path = written(tmp_path, content)
    apply_overrides(path, ["download.sources.0.kind=archive", "download.sources.0.location=/data/my-faces.zip"])
    (changed,) = read_settings(path).download.sources
    assert (changed.name, changed.kind, changed.location) == ("faces", "archive", "/data/my-faces.zip")
    apply_overrides(path, ["download.sources.0.location=[/data/a.zip,/data/b.zip]"])
    assert read_settings(path).download.sources[0].location == ("/data/a.zip", "/data/b.zip")


def test_every_choosable_severity_must_be_chosen(tmp_path: Path, content: dict) -> None:
    del content["validate"]["severity"]["border"]
    with pytest.raises(SettingsError, match="missing: border"):
        read_settings(written(tmp_path, content))


@pytest.mark.parametrize(
    ("key", "value"),
    [("learning_rate", [0.01, 0.001]), ("dropout", [0.0, 1.0]), ("batch_size", []), ("batch_size", [0]),
     ("self_blend", [0.0, 0.95]), ("warmup_epochs", [0.5, 2]), ("patience", [1, 2])],
)  # fmt: skip
def test_a_range_that_train_could_not_take_is_refused(tmp_path: Path, content: dict, key: str, value: object) -> None:
    content["tune"][key] = value
    with pytest.raises(SettingsError, match=rf"tune\.{key}"):
        read_settings(written(tmp_path, content))


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [("train", "blend", 0.25, "train.blend is now called train.self_blend"),
     ("train", "patchwork", 0.25, "train.patchwork is now called train.cutmix"),
     ("train", "augment", "traffic", "train.augment: traffic is now called corruptions"),
     ("evaluate", "calibrate_on", "traffic", "evaluate.calibrate_on: traffic is now called corruptions"),
     ("evaluate", "flag_false_positives", 0.01, "is now called evaluate.flag_false_positive_rate"),
     ("tune", "blend", [0.0, 0.5], "tune.blend is now called tune.self_blend")],
)  # fmt: skip
def test_a_setting_of_version_0_1_is_refused_with_its_new_name(
    tmp_path: Path, content: dict, section: str, key: str, value: object, message: str
) -> None:
    content[section][key] = value
    with pytest.raises(SettingsError, match=message):
        read_settings(written(tmp_path, content))


def test_a_renamed_key_of_a_source_is_named_with_its_position(tmp_path: Path, content: dict) -> None:
    old = source()
    old["place"] = old.pop("location")
    content["download"]["sources"] = [source(), old]
    with pytest.raises(
        SettingsError, match=r"download\.sources\.1\.place is now called download\.sources\.1\.location"
    ):
        read_settings(written(tmp_path, content))


def test_every_new_name_exists(content: dict) -> None:
    """Else a refusal would name a setting that is refused too."""
    for new in RENAMED_KEYS.values():
        value = content
        for part in new.replace("*", "0").split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]


@pytest.mark.parametrize("text", ["train: {epochs: .inf}", "train: 2026-11-29", "train: &a [*a]", "a: 1\na: 2"])
def test_odd_yaml_is_refused_and_not_a_crash(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError):
        read_settings(tmp_path / "params.yaml")


def test_numbers_are_read_as_dvc_writes_them(tmp_path: Path, content: dict) -> None:
    """`dvc exp run -S train.weight_decay=1e-05` writes no dot, which YAML 1.1 would read as text."""
    text = yaml.safe_dump(content | {"train": content["train"] | {"weight_decay": "PLACEHOLDER"}})
    (tmp_path / "params.yaml").write_text(text.replace("PLACEHOLDER", "1e-05"), encoding="utf-8")
    assert read_settings(tmp_path / "params.yaml").train.weight_decay == 1e-05


def test_feedback_is_of_one_kind_and_has_a_held_out_part(tmp_path: Path, content: dict) -> None:
    feedback = {"kind": "labelled", "location": "a.zip", "fake_kind": "swap", "feedback": True}
    content["download"]["sources"] += [
        {"name": "feedback", **feedback},
        {"name": "feedback_held_out", "use": "test", **feedback},
        {"name": "portraits", "kind": "labelled", "location": "b.zip", "fake_kind": "swap", "use": "test"},
    ]
    download = read_settings(written(tmp_path, content)).download
    assert download.feedback == {"feedback", "feedback_held_out"}
    assert download.feedback_slices == {"feedback_held_out"}
    assert download.left_out == {"feedback_held_out", "portraits"}
    content["download"]["sources"][1]["kind"] = "archive"
    with pytest.raises(SettingsError, match="`feedback: true` is for `kind: labelled`"):
        read_settings(written(tmp_path, content))


@pytest.mark.parametrize("name", ["a b", "../report", "x" * 101, "a;b"])
def test_the_name_of_a_drift_report_is_a_name(tmp_path: Path, content: dict, name: str) -> None:
    content["evaluate"]["drift_report"] = name
    with pytest.raises(SettingsError, match=r"evaluate\.drift_report"):
        read_settings(written(tmp_path, content))
