"""A trained graph and what must be known to use it <-> a sealed folder (the bundle) and its digest.

    bundle/
      detector.onnx    uint8 or float RGB (n, side, side, 3) -> `logits` (n,), `logit_map` (n, h, w); > 0 means fake;
                     and `kinds` (n, k): the logit of each kind of fake; `logits` is their logsumexp
      contract.json    the `Contract` below
      reference.npz    `crops` (m, side, side, 3) uint8 and the `logits`, `logit_map` and `kinds` they give
      card.md          what the model is for, on what it was trained, where it fails
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
    """Calibrated probabilities that separate the answers, set on validation pictures only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clear: float  # at or below: "real"
    flag: float  # at or above: "fake"
    strict: float  # at or above: "fake" where a false alarm hurts


class Contract(BaseModel):
    """Everything a program must know to use `detector.onnx` as it was judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[2]
    network: str
    side_px: int
    alignment: Literal["ffhq"]
    crop_scale: float  # side of the crop over that of FFHQ's square
    kinds: tuple[str, ...]  # of fakes, in the order of the graph's `kinds`; one where only one was learnt
    min_face_px: int
    temperature: float  # p_fake = sigmoid(logit / temperature)
    thresholds: Thresholds
    trained_on: Literal["photographs", "drawn sample"]
    data_sha256: dict[str, str]  # source name -> SHA-256 of its archive
    train_images: int
    test_images: int
    test_metrics: dict[str, float]  # for example accuracy, accuracy_low, accuracy_high, auc, ...
    run_id: str  # MLflow run that trained it
    weights_sha256: str  # over the arrays, so that it survives a change of file format


@dataclass(frozen=True)
class Bundle:
    """A bundle whose bytes were found to be the sealed ones."""

    path: Path
    contract: Contract
    sha256: str

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.path / "detector.onnx"

    @property
    def reference(self) -> Path:
        """Crops and the outputs they must give."""
        return self.path / "reference.npz"


def probabilities(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Calibrated probability (n,) that each crop is fake, of its logit (n,); evaluating and serving both ask here.

    Beyond 60 temperatures a float64 no longer knows the probability from 0 or 1.
    """
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits / temperature, -60.0, 60.0))), np.float64)


def read_bundle(path: Path) -> Bundle:
    """Open a bundle after comparing every byte with its seal.

    Raises:
        ModelNotFound: there is no bundle at `path`.
        BundleCorrupt: a file is missing, added or changed.
        BundleOutdated: it is as it was sealed, but its contract is of another format.
    """
    if not (path / SEAL).is_file():
        raise ModelNotFound(f"no model bundle at {path}", "run `make repro`, or name a bundle with --model")
    seal = (path / SEAL).read_text(encoding="utf-8")
    if seal != _sums(path):
        raise BundleCorrupt(
            f"bundle {path} is not what was sealed: {_difference(seal, _sums(path))}",
            "take it again from the registry or from `make repro`; a changed bundle is never used",
        )
    try:
        contract = Contract.model_validate_json((path / "contract.json").read_text(encoding="utf-8"))
    except ValidationError as error:
        raise BundleOutdated(f"{path}/contract.json is of another format: {error}", "package the model anew") from error
    return Bundle(path=path, contract=contract, sha256=hashlib.sha256(seal.encode()).hexdigest())


def write_bundle(path: Path, graph: Path, contract: Contract, reference: Path, card: str) -> Bundle:
    """Seal a bundle at `path`, replacing what is there only once the new one is whole.

    Args:
        path: the bundle's folder.
        graph: an ONNX file, as described at the top of this module.
        contract: how to use the graph.
        reference: an .npz file, as described at the top of this module.
        card: Markdown for people.
    """
    with atomic_directory(path) as fresh:
        shutil.copyfile(graph, fresh / "detector.onnx")
        shutil.copyfile(reference, fresh / "reference.npz")
        (fresh / "contract.json").write_text(contract.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (fresh / "card.md").write_text(card, encoding="utf-8")
        (fresh / SEAL).write_text(_sums(fresh), encoding="utf-8")
    return read_bundle(path)


def _sums(path: Path) -> str:
    names = sorted(p.name for p in path.iterdir() if p.name != SEAL and p.is_file())
    return "".join(f"{sha256_of_file(path / name)}  {name}\n" for name in names)


def _difference(sealed: str, found: str) -> str:
    changed = {line.split()[-1] for line in set(sealed.splitlines()) ^ set(found.splitlines())}
    return ", ".join(sorted(changed)) + " differs"
