"""The champion's bundle and pretrained/ -> a BentoML model and a bento each, only if they are not there yet."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_detector.errors import ModelNotFound
from deepfake_detector.inference.model_selection import Name, checked, prefer
from deepfake_detector.model.bundle import Bundle, read_bundle

# The names that serving/service.py uses; importing it from here would load OpenVINO and OpenCV for nothing.
MODEL = "deepfake-detector"
BUNDLE_FOLDER = "bundle"
BENTOFILE = "bentofile.yaml"
PRETRAINED = "-pretrained"  # behind the names of the champion's bento and model


@dataclass(frozen=True)
class Champion:
    """The registered model that is to be served."""

    version: str
    run_id: str
    bundle: Bundle


@dataclass(frozen=True)
class Packaged:
    """What of one model lies in the BentoML store. Paths are relative to the repository."""

    bento: str
    model: str
    bundle: str
    bundle_sha256: str
    built: bool  # False: it was there already


@dataclass(frozen=True)
class _Wanted:
    """One model to package: its names in the store, and what the service says of it."""

    kind: Name
    said: str
    bundle: Bundle
    bento: str
    model: str
    version: str
    run_id: str


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


def package_champion(champion: Champion, root: Path, bento_name: str) -> Packaged:
    """Put the champion in the BentoML store and build its bento, unless the latest bento already is that.

    Args:
        champion: the registry's.
        root: the repository, with bentofile.yaml; BENTOML_HOME says where the store is.
        bento_name: what the bento is called.
    """
    said = f"the registry's champion, version {champion.version}"
    return _package(
        _Wanted("champion", said, champion.bundle, bento_name, MODEL, champion.version, champion.run_id), root
    )


def package_pretrained(bundle: Bundle, root: Path, bento_name: str) -> Packaged:
    """The same for the model that ships with the code, under names of its own: `latest` stays the champion."""
    said, run_id = "the model that ships with the code", bundle.contract.run_id
    names = (bento_name + PRETRAINED, MODEL + PRETRAINED)
    return _package(_Wanted("pretrained", said, bundle, *names, bundle.sha256[:12], run_id), root)


def report_of(
    champion: Champion | None,
    packaged: Packaged | None,
    shipped: Bundle | None,
    pretrained: Packaged | None,
    root: Path,
) -> dict[str, Any]:
    """What reports/package.json keeps, the same whether the bentos were built just now or before.

    The champion's facts, those of `pretrained`, and which of the two `serves` by default, with the reason.
    """
    preference = prefer(
        None if champion is None else champion.bundle.contract.trained_on,
        None if shipped is None else shipped.contract.trained_on,
    )
    bentos = {"champion": packaged and packaged.bento, "pretrained": pretrained and pretrained.bento}
    assert preference.name is not None
    return {
        **{name: getattr(packaged, name, None) for name in ("bento", "model", "bundle", "bundle_sha256")},
        **{name: getattr(champion, name, None) for name in ("version", "run_id")},
        "code_sha256": code_digest(root),
        "pretrained": pretrained and {n: getattr(pretrained, n) for n in ("bento", "model", "bundle_sha256")},
        "serves": {"name": preference.name, "bento": bentos[preference.name], "reason": preference.reason},
    }


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


def _package(wanted: _Wanted, root: Path) -> Packaged:
    import bentoml

    sha256 = wanted.bundle.sha256
    labels = {"kind": wanted.kind, "bundle_sha256": sha256, "code_sha256": code_digest(root)}
    bento, model = _latest(bentoml.bentos, wanted.bento), _latest(bentoml.models, wanted.model)
    current = bento is not None and labels.items() <= bento.info.labels.items()
    metadata = {"bundle_sha256": sha256, "said": wanted.said}
    if model is None or not metadata.items() <= model.info.metadata.items():
        model, current = _store(wanted), False
    if not current:
        bento = bentoml.bentos.build_bentofile(
            str(root / BENTOFILE),
            name=wanted.bento,
            build_ctx=str(root),
            labels=labels | {"version": wanted.version},
            args={"model": str(model.tag)},  # kept in the bento: it serves this model, whatever is the latest by then
            reload=True,  # a process that builds two bentos has the service of the first in memory
        )
    assert bento is not None
    path = Path(model.path_of(BUNDLE_FOLDER))
    lies = path if path.is_relative_to(root) else wanted.bundle.path
    return Packaged(str(bento.tag), str(model.tag), str(lies.relative_to(root)), sha256, not current)


def _store(wanted: _Wanted) -> Any:
    """Make a bundle the latest model of its name, with what the service says of it."""
    import bentoml

    contract = wanted.bundle.contract
    metadata = {
        "kind": wanted.kind,
        "said": wanted.said,
        "bundle_sha256": wanted.bundle.sha256,
        "version": wanted.version,
        "run_id": wanted.run_id,
        "trained_on": contract.trained_on,
        "network": contract.network,
    }
    labels = {"kind": wanted.kind, "version": wanted.version, "run_id": wanted.run_id}
    with bentoml.models.create(wanted.model, labels=labels, metadata=metadata) as model:
        shutil.copytree(wanted.bundle.path, model.path_of(BUNDLE_FOLDER))
    return bentoml.models.get(model.tag)  # `model` still points to the place where it was put together


def _latest(store: Any, name: str) -> Any:
    from bentoml.exceptions import NotFound

    try:
        return store.get(f"{name}:latest")
    except NotFound:
        return None
