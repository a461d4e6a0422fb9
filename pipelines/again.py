"""Settings -> the one command that makes the same model again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepfake_detector.settings import Settings, Source

LINE = " \\\n    "


def exp_run(settings: Settings) -> str:
    """`dvc exp run` with everything that shapes a training; the rest is what the checkout's params.yaml says.

    Archives are looked for in the repository's root, under their own names; their SHA-256 refuses others.
    """
    chosen = {"download.sources": "[" + ",".join(_source(source) for source in settings.download.sources) + "]"}
    for stage in ("prepare", "train"):
        chosen |= {f"{stage}.{name}": _value(value) for name, value in asdict(getattr(settings, stage)).items()}
    return LINE.join(["dvc exp run", *(f"-S '{name}={value}'" for name, value in chosen.items())])


def _source(source: Source) -> str:
    told = {name: value for name, value in asdict(source).items() if name != "terms"}
    if source.kind in ("archive", "labelled"):
        told["place"] = Path(source.place).name
    return "{" + ",".join(f"{name}: {json.dumps(value)}" for name, value in told.items()) + "}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
