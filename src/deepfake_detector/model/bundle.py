"""ONNX graph, contract, reference outputs and model card <-> the bundle: a folder sealed by digests.

    bundle/
      detector.onnx    uint8 or float RGB (n, side, side, 3) -> `logits` (n,) and `logit_map` (n, h, w), > 0 means
                       fake, and `kinds` (n, k), the logit of each kind of fake; `logits` is their logsumexp
      contract.json    the `Contract` below
      reference.npz    `crops` (m, side, side, 3) uint8 and their `logits`, `logit_map` and `kinds`
      card.md          the model card: intended use, training data, limits
      SHA256SUMS       one line per file above, as `sha256sum -c` reads it; its own SHA-256 is the bundle's digest

Reading a bundle needs neither TensorFlow nor ONNX.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from deepfake_detector.errors import BundleCorrupt, BundleOutdated, ModelNotFound
from deepfake_detector.io import atomic_directory, sha256_of_file

FORMAT_VERSION = 2
SEAL = "SHA256SUMS"


class Thresholds(BaseModel):
    """Calibrated probabilities that separate the answers, fitted on validation pictures only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clear: float  # at or below: "real"
    flag: float  # at or above: "fake"
    strict: float  # at or above: "fake" where a false positive is costly


class Contract(BaseModel):
    """Everything a program needs to use `detector.onnx` as it was evaluated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[2]
    network: str
    side_px: int
    alignment: Literal["ffhq"]
    crop_scale: float  # side of the crop over the side of FFHQ's square
    kinds: tuple[str, ...]  # of fakes, in the order of the graph's `kinds`; one if only one was trained
    min_face_px: int
    temperature: float  # p_fake = sigmoid(logit / temperature)
    thresholds: Thresholds
    trained_on: Literal["photographs", "drawn sample"]
    data_sha256: dict[str, str]  # source name -> SHA-256 of its archive
    train_images: int
    test_images: int
    test_metrics: dict[str, float]  # for example accuracy, accuracy_low, accuracy_high, auc, ...
    run_id: str  # MLflow run that trained it
    weights_sha256: str  # `weights_sha256`: independent of the file format


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


def probabilities(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Logits (n,) -> calibrated probabilities (n,) of being fake; evaluation and serving both call this function.

    Logits are clipped at 60 temperatures, beyond which a float64 cannot tell the probability from 0 or 1.
    """
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits / temperature, -60.0, 60.0))), np.float64)


def read_bundle(path: Path) -> Bundle:
    """Open a bundle after verifying the digest of every file.

    Raises:
        ModelNotFound: there is no bundle at `path`.
        BundleCorrupt: a file is missing, added or changed.
        BundleOutdated: its digests hold, but its contract has another format version.
    """
    if not (path / SEAL).is_file():
        raise ModelNotFound(f"no model bundle at {path}", "run `make repro`, or name a bundle with --model")
    seal = (path / SEAL).read_text(encoding="utf-8")
    if seal != _sha256sums(path):
        raise BundleCorrupt(
            f"bundle {path} does not match its SHA256SUMS: {_changed_files(seal, _sha256sums(path))}",
            "fetch it from the registry again or run `make repro`; a changed bundle is never used",
        )
    try:
        contract = Contract.model_validate_json((path / "contract.json").read_text(encoding="utf-8"))
    except ValidationError as error:
        raise BundleOutdated(
            f"{path}/contract.json has another format: {error}", "run `make repro` to package the model again"
        ) from error
    return Bundle(path=path, contract=contract, sha256=hashlib.sha256(seal.encode()).hexdigest())


def write_bundle(path: Path, graph: Path, contract: Contract, reference: Path, card: str) -> Bundle:
    """Write and seal a bundle at `path`, atomically.

    Args:
        path: the bundle's folder.
        graph: an ONNX file, as described at the top of this module.
        contract: how to use the graph.
        reference: an .npz file, as described at the top of this module.
        card: the model card, Markdown.
    """
    with atomic_directory(path) as fresh:
        shutil.copyfile(graph, fresh / "detector.onnx")
        shutil.copyfile(reference, fresh / "reference.npz")
        (fresh / "contract.json").write_text(contract.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (fresh / "card.md").write_text(card, encoding="utf-8")
        (fresh / SEAL).write_text(_sha256sums(fresh), encoding="utf-8")
    return read_bundle(path)


def _sha256sums(path: Path) -> str:
    names = sorted(p.name for p in path.iterdir() if p.name != SEAL and p.is_file())
    return "".join(f"{sha256_of_file(path / name)}  {name}\n" for name in names)


def _changed_files(sealed: str, actual: str) -> str:
    changed = {line.split()[-1] for line in set(sealed.splitlines()) ^ set(actual.splitlines())}
    return ", ".join(sorted(changed)) + " differs"
