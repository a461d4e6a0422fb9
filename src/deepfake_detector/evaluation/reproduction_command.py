"""Settings and digests of the data -> the command that trains the same model again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepfake_detector.config import SEVERAL_ZIPS, Settings, Source

CONTINUATION = " \\\n    "


def reproduction_command(settings: Settings, data_sha256: Mapping[str, str]) -> str:
    """`dvc exp run` with every setting that shapes a training.

    Archives are expected in the repository's root, under their own names; their SHA-256 rejects others.

    Args:
        settings: those of the training.
        data_sha256: of each source's archive, as `download` packed it.
    """
    sources = (_source(source, data_sha256.get(source.name, "")) for source in settings.download.sources)
    overrides = {"download.sources": "[" + ",".join(sources) + "]"}
    for stage in ("prepare", "train"):
        overrides |= {f"{stage}.{name}": _value(value) for name, value in asdict(getattr(settings, stage)).items()}
    arguments = (f"-S '{name}={value}'" for name, value in overrides.items())
    return CONTINUATION.join(["dvc exp run", *arguments])


def _source(source: Source, packed_sha256: str) -> str:
    fields = {name: value for name, value in asdict(source).items() if name != "terms"}
    if source.kind in SEVERAL_ZIPS:
        given = (source.location,) if isinstance(source.location, str) else source.location
        paths = [Path(location).expanduser() for location in given]
        names = [path.name for path in paths]
        fields["location"] = names[0] if isinstance(source.location, str) else names
        # `download` takes no checksum for a folder.
        if not source.sha256 and (source.is_several or paths[0].is_file()):
            fields["sha256"] = packed_sha256
    return "{" + ",".join(f"{name}: {json.dumps(value)}" for name, value in fields.items()) + "}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
