"""The nested report as flat metrics: old names stay, parts are grouped, and MLflow accepts every name."""

from __future__ import annotations

from deepfake_detector.registry.candidate import flatten, numbers

JUDGED = {
    "test": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}, "images": 7, "confusion": {"true_fake": 3}},
    "calibration": {"temperature": 1.5, "on": "clean"},
    "per_source": {"faces": {"accuracy": {"value": 0.9, "low": 0.8, "high": 1.0}, "images": 4}},
    "grid": {"all": {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}, "coverage": 0.99}},
    "odd": {"JPEG 50 % (q<60)": {"accuracy": 0.5}},
    "test_digest": "abc",
    "flagged": True,
}


def test_names_of_the_road_stay_and_parts_are_grouped() -> None:
    assert numbers(JUDGED) == {
        "test_accuracy": 0.9,
        "test_accuracy_low": 0.8,
        "test_accuracy_high": 0.95,
        "test_images": 7.0,
        "test_confusion_true_fake": 3.0,
        "calibration_temperature": 1.5,
        "source/faces/accuracy": 0.9,
        "source/faces/images": 4.0,
        "grid/all/accuracy": 0.7,
        "grid/all/coverage": 0.99,
        "odd/JPEG 50 _ _q_60_/accuracy": 0.5,
    }


def test_mlflow_accepts_every_name(libraries: None) -> None:
    from mlflow.utils.validation import _validate_metric_name

    for name in numbers(JUDGED):
        _validate_metric_name(name)


def test_flattening() -> None:
    nested = {"auc": {"value": 0.9, "low": 0.8}, "confusion": {"a": 3}, "images": 7, "text": "x", "flag": True}
    assert flatten(nested) == {"auc": 0.9, "auc_low": 0.8, "confusion_a": 3.0, "images": 7.0}
