"""What the caller named, or nothing -> the bundle that answers, and why: a model of photographs before any other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.model.bundle import Bundle, read_bundle

# Of an editable install or a checkout: src/deepfake_detector/inference/model_selection.py -> the repository's root.
CHECKOUT = Path(__file__).resolve().parents[3]
NAMES = ("champion", "pretrained")
PHOTOGRAPHS = "photographs"

Name = Literal["champion", "pretrained"]


@dataclass(frozen=True)
class Preference:
    """Which of our models answers; None: there is none."""

    name: Name | None
    reason: str  # one clause for people


@dataclass(frozen=True)
class Choice:
    """The bundle that answers."""

    bundle: Bundle
    name: str  # champion | pretrained | named, by its folder
    reason: str


def prefer(champion: str | None, pretrained: str | None) -> Preference:
    """Decide which model answers when nobody named one.

    People ask about photographs and videos: a champion that knows only the drawn sample answers as the last resort.

    Args:
        champion: on what the registry's champion was trained, `Contract.trained_on`; None if there is no champion.
        pretrained: the same of pretrained/.
    """
    if champion == PHOTOGRAPHS:
        return Preference("champion", "the registry's champion was trained on photographs")
    why_not = "there is no champion" if champion is None else f"the champion was trained on the {champion} only"
    if pretrained is not None:
        return Preference("pretrained", f"{why_not}, so the model that ships with the code answers")
    if champion is not None:
        return Preference("champion", f"{why_not}, but there is no pretrained/ to answer in its place")
    return Preference(None, "there is neither a champion nor pretrained/")


def choose(named: str | Path | None = None, root: Path | None = None) -> Choice:
    """Find the bundle to answer with.

    `named` is `champion`, `pretrained` or a bundle's folder; without it, see `prefer`. The champion is the packaged one
    (`bundle` in reports/package.json), else the registered one (`champion.bundle` in reports/register.json). All are
    looked for below `root`, by default the working directory and then the checkout this code lies in. MLflow is not
    asked: it takes seconds to import.

    Raises:
        ModelNotFound: none of these exists, or `named` does not.
        BundleCorrupt: the one found is not what was sealed, or not the one the report names.
    """
    if named is not None and str(named) not in NAMES:
        return Choice(read_bundle(Path(named)), "named", "it was named")
    roots = [root] if root is not None else list(dict.fromkeys([Path.cwd(), CHECKOUT]))
    # What was not asked for is not read: another bundle that is broken must not stand in the way.
    champion = _champion(roots) if named != "pretrained" else None
    pretrained = _pretrained(roots) if named != "champion" else None
    if named is not None:
        if (bundle := champion or pretrained) is None:
            raise _missing(f"no {named}", roots)
        return Choice(bundle, str(named), "it was named")
    preference = prefer(_trained_on(champion), _trained_on(pretrained))
    bundle = champion if preference.name == "champion" else pretrained
    if bundle is None or preference.name is None:
        raise _missing("no model: neither a champion nor pretrained/", roots)
    return Choice(bundle, preference.name, preference.reason)


def read_pretrained(root: Path) -> Bundle | None:
    """The bundle that ships with the code, if it does."""
    return read_bundle(root / "pretrained") if (root / "pretrained" / "contract.json").is_file() else None


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


def _trained_on(bundle: Bundle | None) -> str | None:
    return None if bundle is None else bundle.contract.trained_on


def _pretrained(roots: list[Path]) -> Bundle | None:
    return next((bundle for root in roots if (bundle := read_pretrained(root)) is not None), None)


def _champion(roots: list[Path]) -> Bundle | None:
    for root in roots:
        packaged = _report(root / "reports" / "package.json")
        registered = _report(root / "reports" / "register.json").get("champion") or {}
        for pointer in (packaged, registered):
            path, sha256 = pointer.get("bundle"), pointer.get("bundle_sha256")
            if path and (root / path / "contract.json").is_file():
                return checked(read_bundle(root / path), sha256)
    return None


def _missing(what: str, roots: list[Path]) -> ModelNotFound:
    return ModelNotFound(
        f"{what} below {' or '.join(map(str, roots))}",
        "run `make repro` to train one, or name a bundle's folder with --model",
    )


def _report(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
