"""The champion's bundle and pretrained/ -> a BentoML model and a bento each, unless the store has them already."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_detector.errors import ModelNotFound, ToolFailed, needs_extra
from deepfake_detector.inference.model_selection import preferred_model, verify_digest
from deepfake_detector.io import read_json
from deepfake_detector.model.bundle import Bundle, read_bundle
from deepfake_detector.yaml_file import read_yaml

# As in serving/service.py; importing it would start BentoML's service here.
BENTO_MODEL = "deepfake-detector"
BUNDLE_FOLDER = "bundle"
BENTOFILE = "bentofile.yaml"
REGISTER_FIRST = "run `python -m pipelines.register` first"
REGISTER_AGAIN = "run `python -m pipelines.register`, which writes it again"
PRETRAINED_SUFFIX = "-pretrained"  # of the bento and the BentoML model of pretrained/


@dataclass(frozen=True)
class RegisteredChampion:
    """The registry's champion."""

    version: str
    run_id: str
    bundle: Bundle


@dataclass(frozen=True)
class PackagedModel:
    """Where one model is in the BentoML store. `bundle` is relative to the repository."""

    bento: str
    model: str
    bundle: str
    bundle_sha256: str
    built: bool  # False: the store had it already


@dataclass(frozen=True)
class _PackageRequest:
    """One model to package: what the service reports of it, and its names in the store."""

    name: str
    version: str
    reason: str
    run_id: str
    bundle: Bundle
    bento: str
    model: str


def read_champion(report: Path, root: Path) -> RegisteredChampion | None:
    """Open the champion that reports/register.json names; None if it names none: no candidate passed the gate yet.

    Raises:
        ModelNotFound: the report is missing, or the bundle of the champion that it names.
        BundleCorrupt: the bundle is not the registered one.
        ToolFailed: the report is damaged.
    """
    if not report.is_file():
        raise ModelNotFound(f"no {report.name} in {report.parent}", REGISTER_FIRST)
    champion = read_json(report, REGISTER_AGAIN).get("champion")
    if not champion:
        return None
    if not isinstance(champion, dict) or not champion.keys() >= {"bundle", "bundle_sha256", "version", "run_id"}:
        raise ToolFailed(f"{report} names a champion without its bundle, digest, version and run", REGISTER_AGAIN)
    path = root / str(champion["bundle"])
    if not path.is_dir():
        message = f"the champion, version {champion['version']}, has no bundle at {path}"
        raise ModelNotFound(message, "run `dvc checkout`, or `python -m pipelines.register`, which exports it again")
    bundle = verify_digest(read_bundle(path), champion["bundle_sha256"])
    return RegisteredChampion(str(champion["version"]), champion["run_id"], bundle)


def find_champion(report: Path, root: Path, has_shipped: bool) -> RegisteredChampion | None:
    """Do the same where a model ships with the code: nothing need be registered then, and `make serve` works.

    Raises:
        ModelNotFound, BundleCorrupt, ToolFailed: see `read_champion`; or a champion was packaged before.
    """
    if report.is_file() or not has_shipped:
        return read_champion(report, root)
    _require_no_champion(report.with_name("package.json"))
    return None


def _require_no_champion(packaged: Path) -> None:
    """Refuse to package another model in the place of a champion that was packaged before."""
    if packaged.is_file() and (named := read_json(packaged, REGISTER_AGAIN).get("bundle")):
        raise ModelNotFound(
            f"{packaged} names a champion ({named}), but there is no register.json",
            f"{REGISTER_FIRST}, or delete {packaged.name} to package the model that ships with the code",
        )


def model_change(path: Path, report: Mapping[str, Any]) -> str:
    """What changes for those who are served, in words, if `report` replaces an older one at `path`; "" for nothing.

    Raises:
        ToolFailed: the older one is damaged.
    """
    before = _served_model(read_json(path, "delete it, and run the same command again")) if path.is_file() else ""
    after = _served_model(report)
    return f"the served model changes: {before} -> {after}" if before not in ("", after) else ""


def _served_model(report: Mapping[str, Any]) -> str:
    """Name and start of the digest of the model that a content of reports/package.json serves by default."""
    name = (report.get("serves") or {}).get("name")
    sha256 = (report if name == "champion" else report.get("pretrained") or {}).get("bundle_sha256")
    return f"{name} {str(sha256)[:12]}" if name else "nothing"


def package_champion(champion: RegisteredChampion, root: Path, bento_name: str) -> PackagedModel:
    """Store the champion and build its bento, unless the latest bento is the same already.

    Args:
        champion: see `read_champion`.
        root: the repository, with bentofile.yaml; BENTOML_HOME is the store.
        bento_name: name of the bento.
    """
    reason = f"the registry's champion, version {champion.version}"
    request = _PackageRequest(
        "champion", champion.version, reason, champion.run_id, champion.bundle, bento_name, BENTO_MODEL
    )
    return _package(request, root)


def package_pretrained(bundle: Bundle, root: Path, bento_name: str) -> PackagedModel:
    """Do the same for the model that ships with the code, under other names: `latest` stays the champion."""
    reason, names = "the model that ships with the code", (bento_name, BENTO_MODEL)
    bento, model = (name + PRETRAINED_SUFFIX for name in names)
    request = _PackageRequest("pretrained", bundle.sha256[:12], reason, bundle.contract.run_id, bundle, bento, model)
    return _package(request, root)


def store_bundle(selected: Bundle, name: str, version: str, reason: str) -> str:
    """Store a bundle in the BentoML store of BENTOML_HOME, and return the tag by which the service loads it.

    Args:
        selected: the model.
        name: champion, pretrained or named, as the answers of /about say.
        version: of it.
        reason: why it is served, one clause.

    Raises:
        MissingExtra: the extra `serve` is not installed.
    """
    run_id = selected.contract.run_id
    request = _PackageRequest(name, version, reason, run_id, selected, bento="", model=BENTO_MODEL)
    return str(_store_model(request).tag)


def package_report(
    champion: RegisteredChampion | None,
    packaged: PackagedModel | None,
    shipped: Bundle | None,
    pretrained: PackagedModel | None,
    root: Path,
) -> dict[str, Any]:
    """Content of reports/package.json; it does not depend on whether the bentos were built in this run.

    It describes the champion, then `pretrained`, and in `serves` which of the two is served by default and why. `name`
    is None there if nothing could be packaged.
    """
    preference = preferred_model(
        None if champion is None else champion.bundle.contract.trained_on,
        None if shipped is None else shipped.contract.trained_on,
    )
    bentos = {"champion": packaged and packaged.bento, "pretrained": pretrained and pretrained.bento, None: None}
    return {
        **{name: getattr(packaged, name, None) for name in ("bento", "model", "bundle", "bundle_sha256")},
        **{name: getattr(champion, name, None) for name in ("version", "run_id")},
        "code_sha256": code_digest(root),
        "pretrained": pretrained and {n: getattr(pretrained, n) for n in ("bento", "model", "bundle_sha256")},
        "serves": {"name": preference.name, "bento": bentos[preference.name], "reason": preference.reason},
    }


def bento_files(root: Path) -> list[str]:
    """List the files below src/ that bentofile.yaml includes, relative to the repository, sorted."""
    from pathspec import GitIgnoreSpec

    content = read_yaml(root / BENTOFILE)
    included, excluded = (GitIgnoreSpec.from_lines(content.get(key, [])) for key in ("include", "exclude"))
    names = [path.relative_to(root).as_posix() for path in (root / "src").rglob("*") if path.is_file()]
    return sorted(n for n in names if included.match_file(n) and not excluded.match_file(n) and "__pycache__" not in n)


def code_digest(root: Path) -> str:
    """SHA-256 over names and bytes of bentofile.yaml, the code that it includes and the requirements that it names."""
    digest = hashlib.sha256()
    for name in _build_files(root):
        digest.update(f"{name}\0{hashlib.sha256((root / name).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _build_files(root: Path) -> list[str]:
    """bentofile.yaml, the requirements that it names and the code that it includes, relative to the repository."""
    requirements = Path(read_yaml(root / BENTOFILE)["python"]["requirements_txt"]).as_posix()
    return sorted([BENTOFILE, requirements, *bento_files(root)])


@contextmanager
def _build_folder(root: Path) -> Iterator[Path]:
    """A folder to build in: BentoML reads no requirements below a hidden one, and DVC's temporary workspaces are."""
    if not any(part.startswith(".") for part in root.parts):
        yield root
        return
    with tempfile.TemporaryDirectory() as temporary:
        for name in _build_files(root):
            copy = Path(temporary) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, copy)
        yield Path(temporary)


def _package(request: _PackageRequest, root: Path) -> PackagedModel:
    import bentoml

    sha256 = request.bundle.sha256
    labels = {"name": request.name, "bundle_sha256": sha256, "code_sha256": code_digest(root)}
    bento, model = _latest(bentoml.bentos, request.bento), _latest(bentoml.models, request.model)
    current = bento is not None and labels.items() <= bento.info.labels.items()
    metadata = {"bundle_sha256": sha256, "reason": request.reason}
    if model is None or not metadata.items() <= model.info.metadata.items():
        model, current = _store_model(request), False
    if not current:
        with _build_folder(root) as folder:
            bento = bentoml.bentos.build_bentofile(
                str(folder / BENTOFILE),
                name=request.bento,
                build_ctx=str(folder),
                labels=labels | {"version": request.version},
                args={"model": str(model.tag)},  # the bento keeps serving this model when a newer one is stored
                reload=True,  # a process that builds two bentos has imported the service of the first one
            )
    assert bento is not None
    stored = Path(model.path_of(BUNDLE_FOLDER))
    bundle = stored if stored.is_relative_to(root) else request.bundle.path
    return PackagedModel(str(bento.tag), str(model.tag), str(bundle.relative_to(root)), sha256, not current)


def _store_model(request: _PackageRequest) -> Any:
    """Store a bundle as the latest BentoML model of its name; the service reads name, version and reason from it."""
    with needs_extra("serve", "services"):
        import bentoml

    contract = request.bundle.contract
    labels = {"name": request.name, "version": request.version, "run_id": request.run_id}
    metadata = {
        **labels,
        "reason": request.reason,
        "bundle_sha256": request.bundle.sha256,
        "trained_on": contract.trained_on,
        "network": contract.network,
    }
    with bentoml.models.create(request.model, labels=labels, metadata=metadata) as model:
        shutil.copytree(request.bundle.path, model.path_of(BUNDLE_FOLDER))
    return bentoml.models.get(model.tag)  # `model` still has the path of the folder in which it was created


def _delete_incomplete(name: str) -> None:
    """Delete what a killed process left of a bento or model in the store; BentoML lists no version beside it."""
    home = Path(os.environ.get("BENTOML_HOME", ""))
    for kind, manifest in (("bentos", "bento.yaml"), ("models", "model.yaml")):
        for folder in (home / kind / name).glob("*/"):
            if not (folder / manifest).is_file():
                shutil.rmtree(folder, ignore_errors=True)


def _latest(store: Any, name: str) -> Any:
    from bentoml.exceptions import NotFound

    if os.environ.get("BENTOML_HOME"):
        _delete_incomplete(name)
    try:
        return store.get(f"{name}:latest")
    except NotFound:
        return None
