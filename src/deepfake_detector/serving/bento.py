"""A champion's bundle -> a BentoML model, and with the serving code a bento; both only if they are not there yet."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepfake_detector.errors import ModelNotFound
from deepfake_detector.model.bundle import Bundle, read_bundle
from deepfake_detector.scoring.choice import checked

# The names that serving/service.py uses; importing it from here would load OpenVINO and OpenCV for nothing.
MODEL = "deepfake-detector"
BUNDLE_FOLDER = "bundle"
BENTOFILE = "bentofile.yaml"


@dataclass(frozen=True)
class Champion:
    """The registered model that is to be served."""

    version: str
    run_id: str
    bundle: Bundle


@dataclass(frozen=True)
class Packaged:
    """What lies in the BentoML store; becomes reports/package.json. Paths are relative to the repository."""

    bento: str
    model: str
    bundle: str
    bundle_sha256: str
    code_sha256: str
    version: str
    run_id: str
    built: bool  # False: it was there already


def read_champion(report: Path, root: Path) -> Champion:
    """Open the champion that reports/register.json names.

    Raises:
        ModelNotFound: there is no report, no champion in it, or no bundle where it points.
        BundleCorrupt: the bundle is not the one that was registered.
    """
    if not report.is_file():
        raise ModelNotFound(f"no {report.name} in {report.parent}", "run `dvc repro register` first")
    champion = json.loads(report.read_text(encoding="utf-8")).get("champion")
    if not champion:
        raise ModelNotFound(f"{report.name} names no champion", "train a model that passes the gate, or promote one")
    bundle = checked(read_bundle(root / champion["bundle"]), champion["bundle_sha256"])
    return Champion(str(champion["version"]), champion["run_id"], bundle)


def package(champion: Champion, root: Path, bento_name: str) -> Packaged:
    """Put the champion in the BentoML store and build its bento, unless the latest bento already is that.

    Args:
        champion: what to serve.
        root: the repository, with bentofile.yaml; BENTOML_HOME says where the store is.
        bento_name: what the bento is called.
    """
    import bentoml

    labels = {"bundle_sha256": champion.bundle.sha256, "code_sha256": code_digest(root)}
    bento = _latest(bentoml.bentos, bento_name)
    model = _latest(bentoml.models, MODEL)
    current = bento is not None and labels.items() <= bento.info.labels.items()
    if model is None or model.info.metadata.get("bundle_sha256") != champion.bundle.sha256:
        model, current = _store(champion), False
    if not current:
        bento = bentoml.bentos.build_bentofile(
            str(root / BENTOFILE), name=bento_name, build_ctx=str(root), labels=labels | {"version": champion.version}
        )
    assert bento is not None
    path = Path(model.path_of(BUNDLE_FOLDER))
    inside = path.is_relative_to(root)
    return Packaged(
        bento=str(bento.tag),
        model=str(model.tag),
        bundle=str((path if inside else champion.bundle.path).relative_to(root)),
        version=champion.version,
        run_id=champion.run_id,
        built=not current,
        **{name: labels[name] for name in ("bundle_sha256", "code_sha256")},
    )


def code_digest(root: Path) -> str:
    """SHA-256 over bentofile.yaml and every file it includes, names and bytes."""
    import yaml
    from pathspec import GitIgnoreSpec

    content = yaml.safe_load((root / BENTOFILE).read_text(encoding="utf-8"))
    wanted, unwanted = (GitIgnoreSpec.from_lines(content.get(key, [])) for key in ("include", "exclude"))
    names = [path.relative_to(root).as_posix() for path in (root / "src").rglob("*") if path.is_file()]
    names = [n for n in names if wanted.match_file(n) and not unwanted.match_file(n) and "__pycache__" not in n]
    digest = hashlib.sha256()
    for name in sorted([BENTOFILE, *names]):
        digest.update(f"{name}\0{hashlib.sha256((root / name).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def report_of(packaged: Packaged) -> dict[str, Any]:
    """What reports/package.json keeps: the same whether the bento was built just now or before."""
    return {name: value for name, value in asdict(packaged).items() if name != "built"}


def _store(champion: Champion) -> Any:
    """Make the champion the latest model of the store: the service asks for the latest, and a build pins it."""
    import bentoml

    contract = champion.bundle.contract
    metadata = {
        "bundle_sha256": champion.bundle.sha256,
        "version": champion.version,
        "run_id": champion.run_id,
        "trained_on": contract.trained_on,
        "network": contract.network,
    }
    labels = {"version": champion.version, "run_id": champion.run_id}
    with bentoml.models.create(MODEL, labels=labels, metadata=metadata) as model:
        shutil.copytree(champion.bundle.path, model.path_of(BUNDLE_FOLDER))
    return bentoml.models.get(model.tag)  # `model` still points to the place where it was put together


def _latest(store: Any, name: str) -> Any:
    from bentoml.exceptions import NotFound

    try:
        return store.get(f"{name}:latest")
    except NotFound:
        return None
