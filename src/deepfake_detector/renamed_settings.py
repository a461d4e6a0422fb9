"""Content of a settings file -> nothing, or an error that names each key and value of version 0.1 with its new name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepfake_detector.errors import SettingsError

# Names of version 0.1 and what they are called since 0.2; a list index is written as `*`.
RENAMED_KEYS = {
    "download.sources.*.place": "download.sources.*.location",
    "evaluate.clear_false_negatives": "evaluate.clear_false_negative_rate",
    "evaluate.flag_false_positives": "evaluate.flag_false_positive_rate",
    "evaluate.max_false_alarms": "evaluate.max_false_positive_rate",
    "evaluate.max_resaving_gain": "evaluate.max_recompression_gain",
    "evaluate.strict_false_positives": "evaluate.strict_false_positive_rate",
    "train.blend": "train.self_blend",
    "train.patchwork": "train.cutmix",
    "tune.blend": "tune.self_blend",
    "validate.severity.copies_across_splits": "validate.severity.duplicates_across_splits",
    "validate.severity.copies_within_split": "validate.severity.duplicates_within_split",
    "validate.severity.near_copies_across_splits": "validate.severity.near_duplicates_across_splits",
}
RENAMED_VALUES = {
    ("evaluate.calibrate_on", "traffic"): "corruptions",
    ("train.augment", "traffic"): "corruptions",
}


def refuse_renamed(content: Any, path: Path) -> None:
    """Name each key and value that version 0.2 renamed, with what replaces it.

    Args:
        content: of the file, as `yaml_file.read_yaml` returns it.
        path: of the file.

    Raises:
        SettingsError: there is such a key or value.
    """
    found = list[str]()
    for key, value in setting_leaves(content):
        parts = key.split(".")
        pattern = ".".join("*" if part.isdigit() else part for part in parts)
        if pattern in RENAMED_KEYS:
            index = next((part for part in parts if part.isdigit()), "")
            found.append(f"{key} is now called {RENAMED_KEYS[pattern].replace('*', index)}")
        elif isinstance(value, str) and (pattern, value) in RENAMED_VALUES:
            found.append(f"{key}: {value} is now called {RENAMED_VALUES[pattern, value]}")
    if found:
        raise SettingsError(
            f"{path.name} has settings of version 0.1:\n  " + "\n  ".join(found), "docs/upgrading.md lists all of them"
        )


def setting_leaves(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of nested mappings and lists as a dotted path, with its value."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield f"{prefix}{key}", value
        yield from setting_leaves(value, f"{prefix}{key}.")
