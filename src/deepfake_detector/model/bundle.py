"""ONNX graph, contract, reference outputs and model card <-> the bundle: a folder sealed by digests.

    bundle/
      detector.onnx    uint8 or float RGB (n, side, side, 3) -> `logits` (n,) and `logit_map` (n, h, w), > 0 means
                       fake, and `kinds` (n, k), the logit of each kind of fake; `logits` is their logsumexp
      contract.json    the `Contract` below
      reference.npz    `crops` (m, side, side, 3) uint8 and their `logits`, `logit_map` and `kinds`
      card.md          the model card: intended use, training data, limits
      profile.json     the `Profile` of labelled pictures, which drift is measured against; missing in format 3
      SHA256SUMS       one line per file above, as `sha256sum -c` reads it; its own SHA-256 is the bundle's digest

Reading a bundle needs neither TensorFlow nor ONNX.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from deepfake_detector.errors import BadInput, BundleCorrupt, BundleOutdated, ModelNotFound
from deepfake_detector.io import atomic_directory, sha256_of_file
from deepfake_detector.model.bundle_contract import (
    FORMAT_VERSION,
    READABLE_VERSIONS,
    WITHOUT_PROFILE,
    Contract,
    Thresholds,
)
from deepfake_detector.model.bundle_profile import MAX_BYTES, Profile
from deepfake_detector.model.bundle_signature import SIGNATURE, sign_seal, verify_signature

__all__ = [
    "FORMAT_VERSION",
    "SEAL",
    "Bundle",
    "Contract",
    "Profile",
    "Thresholds",
    "probabilities",
    "read_bundle",
    "read_profile",
    "sign_bundle",
    "write_bundle",
]
SEAL = "SHA256SUMS"
PROFILE = "profile.json"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose digests were verified."""

    path: Path
    contract: Contract
    sha256: str

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.path / "detector.onnx"

    @property
    def reference(self) -> Path:
        """The .npz file with crops and their reference outputs."""
        return self.path / "reference.npz"

    @property
    def profile(self) -> Path:
        """The profile of labelled pictures; a bundle of format 3 has none."""
        return self.path / PROFILE


def probabilities(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Logits (n,) -> calibrated probabilities (n,) of being fake; evaluation and serving both call this function.

    Logits are clipped at 60 temperatures, beyond which a float64 cannot tell the probability from 0 or 1.
    """
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits / temperature, -60.0, 60.0))), np.float64)


def read_bundle(path: Path) -> Bundle:
    """Open a bundle after verifying the digest of every file, and its signature if a public key is configured.

    Raises:
        ModelNotFound: there is no bundle at `path`.
        BundleCorrupt: a file is missing, added, changed or no plain file; the contract has a number out of its bounds;
            the signature is missing or wrong.
        BundleOutdated: its digests hold, but its contract has another format version.
    """
    bundle = _read_unsigned(path)
    verify_signature(path, (path / SEAL).read_bytes())
    return bundle


def read_profile(bundle: Bundle) -> Profile:
    """The profile of a bundle.

    Raises:
        BadInput: it has none, because it is of format 3.
        BundleCorrupt: it has a number out of its bounds, or too many of them.
    """
    if bundle.contract.format_version == WITHOUT_PROFILE:
        raise BadInput(
            f"no profile: the bundle {bundle.path} has format {WITHOUT_PROFILE}",
            "`python -m pipelines.profile FOLDER` adds one, in a checkout with the test pictures",
        )
    if (size := bundle.profile.stat().st_size) > MAX_BYTES:
        raise BundleCorrupt(
            f"{bundle.profile} has {size:,} bytes, the limit is {MAX_BYTES:,}", "fetch the bundle again"
        )
    try:
        return Profile.model_validate_json(bundle.profile.read_bytes())
    except ValidationError as error:
        raise BundleCorrupt(
            f"{bundle.profile} has values that no profile has: {error}", "fetch the bundle again"
        ) from error


def write_bundle(
    path: Path, graph: Path, contract: Contract, reference: Path, card: str, profile: Profile | None = None
) -> Bundle:
    """Write and seal a bundle at `path`, atomically; it is not signed.

    Args:
        path: the bundle's folder.
        graph: an ONNX file, as described at the top of this module.
        contract: how to use the graph.
        reference: an .npz file, as described at the top of this module.
        card: the model card, Markdown.
        profile: of labelled pictures; without it the bundle has format 3.
    """
    version = WITHOUT_PROFILE if profile is None else FORMAT_VERSION
    contract = contract.model_copy(update={"format_version": version})
    with atomic_directory(path) as fresh:
        shutil.copyfile(graph, fresh / "detector.onnx")
        shutil.copyfile(reference, fresh / "reference.npz")
        (fresh / "contract.json").write_text(contract.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (fresh / "card.md").write_text(card, encoding="utf-8")
        if profile is not None:
            (fresh / PROFILE).write_text(profile.model_dump_json() + "\n", encoding="utf-8")
        (fresh / SEAL).write_text(_sha256sums(fresh), encoding="utf-8")
    return _read_unsigned(path)


def sign_bundle(path: Path, private_key: Path) -> str:
    """Sign a bundle whose digests hold; returns its digest.

    Raises:
        ModelNotFound, BundleCorrupt: see `read_bundle`; an older signature is replaced without being verified.
        BadInput: the file holds no Ed25519 private key.
    """
    bundle = _read_unsigned(path)
    sign_seal(path, (path / SEAL).read_bytes(), private_key)
    return bundle.sha256


def _read_unsigned(path: Path) -> Bundle:
    if not (path / SEAL).is_file():
        raise ModelNotFound(f"no model bundle at {path}", "run `make repro`, or name a bundle with --model")
    seal = (path / SEAL).read_bytes()
    if seal != (actual := _sha256sums(path)).encode():
        raise BundleCorrupt(
            f"bundle {path} does not match its SHA256SUMS: {_changed_files(seal, actual)}",
            "fetch it from the registry again or run `make repro`; a changed bundle is never used",
        )
    return Bundle(path=path, contract=_read_contract(path), sha256=hashlib.sha256(seal).hexdigest())


def _read_contract(path: Path) -> Contract:
    try:
        text = (path / "contract.json").read_text(encoding="utf-8")
        content = json.loads(text)
        version = content["format_version"]
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleCorrupt(f"{path}/contract.json is no contract: {error!r}", "fetch the bundle again") from error
    if version not in READABLE_VERSIONS or isinstance(version, bool):
        raise BundleOutdated(
            f"{path}/contract.json has format version {version!r}, this code reads {READABLE_VERSIONS}",
            "run `make repro` to package the model again, or `python -m pipelines.upgrade_bundle FOLDER` for version 2",
        )
    _require_profile(path, version != WITHOUT_PROFILE)
    try:
        return Contract.model_validate_json(text)
    except ValidationError as error:
        raise BundleCorrupt(
            f"{path}/contract.json has values that no model has: {error}", "fetch the bundle again, or `make repro`"
        ) from error


def _require_profile(path: Path, expected: bool) -> None:
    if (path / PROFILE).is_file() is not expected:
        state = "is missing" if expected else f"does not belong into a bundle of format {WITHOUT_PROFILE}"
        raise BundleCorrupt(f"{path}/{PROFILE} {state}", "fetch the bundle again, or `make repro`")


def _sha256sums(path: Path) -> str:
    """What SHA256SUMS must say; also of files that do not belong there.

    Raises:
        BundleCorrupt: the folder has a subfolder or a link; what it points to may change after it was verified.
    """
    sealed = sorted(entry.name for entry in path.iterdir() if entry.name not in (SEAL, SIGNATURE))
    for name in (*sealed, SEAL, SIGNATURE):
        if (path / name).is_symlink() or ((path / name).exists() and not (path / name).is_file()):
            raise BundleCorrupt(f"{path}/{name} is no plain file", "a bundle is a folder of plain files: copy it anew")
    return "".join(f"{sha256_of_file(path / name)}  {name}\n" for name in sealed)


def _changed_files(sealed: bytes, actual: str) -> str:
    lines = set(sealed.decode("utf-8", "replace").splitlines()) ^ set(actual.splitlines())
    changed = {line.split()[-1] for line in lines if line.strip()}
    return (", ".join(sorted(changed))[:500] or SEAL) + " differs"
