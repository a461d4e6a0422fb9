"""Registered version -> its sealed bundle as a folder, verified against the digest in the registry."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepfake_detector.errors import BundleCorrupt, BundleOutdated, ModelNotFound
from deepfake_detector.io import atomic_directory, sha256_of_file
from deepfake_detector.model.bundle import SEAL, Bundle, read_bundle
from deepfake_detector.registry.model_registry import ModelVersion
from deepfake_detector.tracking.store import fetch_artifact

RESTORE = "restore mlartifacts/ from a backup, or delete the version in `make mlflow` and run `make repro`"


@contextmanager
def fetch_bundle(version: ModelVersion) -> Iterator[Bundle]:
    """A version's bundle, for the time of the `with` block.

    Raises:
        BundleCorrupt: its files are missing, or are not those that were registered.
        BundleOutdated: they are, but this code does not read their format.
    """
    try:
        with fetch_artifact(version.tags["bundle_uri"]) as folder:
            yield _verified(folder, version)
    except ModelNotFound as error:
        text = f"the store has lost the bundle of version {version.number}: {error.message}"
        raise BundleCorrupt(text, RESTORE) from error


def export_bundle(version: ModelVersion, to: Path) -> Bundle:
    """Copy a version's bundle to `to`, atomically; if it is there already, nothing is copied.

    Raises:
        BundleCorrupt: the store's copy is not what was registered.
        BundleOutdated: it is, but this code does not read its format.
    """
    try:
        return _verified(to, version)
    except (ModelNotFound, BundleCorrupt):
        pass
    with fetch_bundle(version) as bundle, atomic_directory(to) as new:
        shutil.copytree(bundle.path, new, dirs_exist_ok=True)
        _verified(new, version)
    return _verified(to, version)


def _verified(path: Path, version: ModelVersion) -> Bundle:
    registered = version.tags["bundle_sha256"]
    try:
        bundle = read_bundle(path)
        digest = bundle.sha256
    except BundleOutdated:
        digest = sha256_of_file(path / SEAL)
        if digest == registered:
            raise  # intact, but of another format
    if digest != registered:
        raise BundleCorrupt(
            f"{path} holds bundle {digest[:12]}, version {version.number} is {registered[:12]}", RESTORE
        )
    return bundle
