"""Settings and commit -> the commands that make the same model again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepfake_detector.config import Settings, Source

LINE = " \\\n    "


def exp_run(settings: Settings, data_sha256: Mapping[str, str], git_commit: str = "") -> str:
    """`dvc exp run` with everything that shapes a training, in the code that shaped it.

    Archives are looked for in the repository's root, under their own names; their SHA-256 refuses others.

    Args:
        settings: those of the training.
        data_sha256: of each source's archive, as `download` packed it.
        git_commit: of the training's code; anything but a commit's name (there was no git) is passed over.
    """
    sources = (_source(source, data_sha256.get(source.name, "")) for source in settings.download.sources)
    chosen = {"download.sources": "[" + ",".join(sources) + "]"}
    for stage in ("prepare", "train"):
        chosen |= {f"{stage}.{name}": _value(value) for name, value in asdict(getattr(settings, stage)).items()}
    checkout = f"git checkout {git_commit}\n" if re.fullmatch("[0-9a-f]{40,64}", git_commit) else ""
    return checkout + LINE.join(["dvc exp run", *(f"-S '{name}={value}'" for name, value in chosen.items())])


def _source(source: Source, packed_sha256: str) -> str:
    told = {name: value for name, value in asdict(source).items() if name != "terms"}
    if source.kind in ("archive", "labelled"):
        place = Path(source.place).expanduser()
        told["place"] = place.name
        if not source.sha256 and place.is_file():  # `download` takes no checksum for a folder
            told["sha256"] = packed_sha256
    return "{" + ",".join(f"{name}: {json.dumps(value)}" for name, value in told.items()) + "}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
