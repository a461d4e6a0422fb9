"""What the caller named, or nothing -> the bundle that answers: named, else the champion, else the pretrained one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.model.bundle import Bundle, read_bundle

# Of an editable install or a checkout: src/deepfake_detector/scoring/choice.py -> the repository's root.
CHECKOUT = Path(__file__).resolve().parents[3]


def choose_bundle(named: Path | None, root: Path | None = None) -> Bundle:
    """Find the bundle to answer with.

    In this order: the folder `named` by the caller; the champion as packaged (`bundle` in reports/package.json); the
    champion as registered (`champion.bundle` in reports/register.json); pretrained/. The reports are looked for below
    `root`, by default the working directory and then the checkout this code lies in. MLflow is not asked: it takes
    seconds to import.

    Raises:
        ModelNotFound: none of these exists, or `named` does not.
        BundleCorrupt: the one found is not what was sealed, or not the one the report names.
    """
    if named is not None:
        return read_bundle(named)
    roots = [root] if root is not None else list(dict.fromkeys([Path.cwd(), CHECKOUT]))
    for place in roots:
        champion = _champion(place)
        if champion is not None:
            return champion
    for place in roots:
        if (place / "pretrained" / "contract.json").is_file():
            return read_bundle(place / "pretrained")
    raise ModelNotFound(
        f"no model: neither a champion nor pretrained/ below {' or '.join(map(str, roots))}",
        "run `make repro` to train one, or name a bundle with --model",
    )


def _champion(root: Path) -> Bundle | None:
    packaged = _report(root / "reports" / "package.json")
    registered = _report(root / "reports" / "register.json").get("champion") or {}
    for pointer in (packaged, registered):
        path, sha256 = pointer.get("bundle"), pointer.get("bundle_sha256")
        if path and (root / path / "contract.json").is_file():
            return checked(read_bundle(root / path), sha256)
    return None


def checked(bundle: Bundle, sha256: str | None) -> Bundle:
    """Return a bundle whose digest is the expected one.

    Raises:
        BundleCorrupt: it is another bundle.
    """
    if bundle.sha256 != sha256:
        raise BundleCorrupt(
            f"bundle {bundle.path} has SHA-256 {bundle.sha256}, the report names {sha256}",
            "run `dvc repro register package`, so that reports and bundle agree again",
        )
    return bundle


def _report(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
