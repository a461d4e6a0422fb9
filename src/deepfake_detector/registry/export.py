"""Registered version -> its sealed bundle as a folder, checked against the digest the registry keeps."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepfake_detector.errors import BundleCorrupt, BundleOutdated, ModelNotFound
from deepfake_detector.io import atomic_directory, sha256_of_file
from deepfake_detector.model.bundle import SEAL, Bundle, read_bundle
from deepfake_detector.registry.model_registry import Version
from deepfake_detector.tracking.store import fetch


@contextmanager
def fetch_bundle(version: Version) -> Iterator[Bundle]:
    """A version's bundle, for the time of the `with` block.

    Raises:
        BundleCorrupt: its files are not those that were registered, or are gone.
        BundleOutdated: they are, but this code does not read their format.
    """
    try:
        with fetch(version.tags["bundle_uri"]) as folder:
            yield _checked(folder, version)
    except ModelNotFound as error:
        raise BundleCorrupt(
            f"the store has lost the bundle of version {version.number}: {error.message}",
            "bring mlartifacts/ back, or delete the version in `make mlflow` and run `make repro`",
        ) from error


def export_bundle(version: Version, to: Path) -> Bundle:
    """Put a version's bundle at `to`, replacing what is there only once the new one is whole.

    Nothing is copied when the right bundle is there already.

    Raises:
        BundleCorrupt: the store's copy is not what was registered.
    """
    try:
        return _checked(to, version)
    except (ModelNotFound, BundleCorrupt):
        pass
    with fetch_bundle(version) as bundle, atomic_directory(to) as fresh:
        shutil.copytree(bundle.path, fresh, dirs_exist_ok=True)
        _checked(fresh, version)
    return _checked(to, version)


def _checked(path: Path, version: Version) -> Bundle:
    registered = version.tags["bundle_sha256"]
    try:
        bundle = read_bundle(path)
        found = bundle.sha256
    except BundleOutdated:
        found = sha256_of_file(path / SEAL)
        if found == registered:
            raise  # what was registered, whole, but for another version of this code
    if found != registered:
        raise BundleCorrupt(
            f"{path} holds bundle {found[:12]}, version {version.number} is {registered[:12]}",
            "bring mlartifacts/ back, or delete the version in `make mlflow` and run `make repro`",
        )
    return bundle
