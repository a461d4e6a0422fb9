"""The model that was chosen -> lines for people: why it, on what it was trained, how it was judged."""

from __future__ import annotations

from collections.abc import Mapping

from deepfake_detector.model.bundle import Contract
from deepfake_detector.scoring.choice import Choice
from deepfake_detector.scoring.decision import DRAWN_WARNING
from deepfake_detector.scoring.fake_kind import WORDS

WIDTH = 12


def describe(choice: Choice) -> str:
    """A line per fact, and at the end the warning that a model of drawings needs."""
    bundle, contract = choice.bundle, choice.bundle.contract
    marks = contract.thresholds
    lines = {
        "answers": f"{choice.name} ({bundle.path})",
        "why": choice.reason,
        "trained on": f"{contract.trained_on}: {contract.train_images:,} faces of {_sources(contract.data_sha256)}",
        "network": f"{contract.network}, crops of {contract.side_px} px, faces from {contract.min_face_px} px",
        "tells apart": " and ".join(["real faces", *(WORDS.get(kind, kind) for kind in contract.kinds)]),
        "judged on": f"{contract.test_images:,} test pictures: {_figures(contract)}",
        "marks": f"real up to {marks.clear:.3f}, fake from {marks.flag:.3f}, strict {marks.strict:.3f}",
        "run": contract.run_id,
        "sha256": bundle.sha256,
    }
    said = [f"{name:{WIDTH}}{value}" for name, value in lines.items()]
    return "\n".join([*said, *([f"\nMind: {DRAWN_WARNING}."] if contract.trained_on == "drawn sample" else [])])


def _sources(digests: Mapping[str, str]) -> str:
    return ", ".join(f"{name} (sha256 {digest[:12]})" for name, digest in sorted(digests.items())) or "unnamed sources"


def _figures(contract: Contract) -> str:
    """Each figure with its 95 % interval, if it has one."""
    found = contract.test_metrics
    told = {name for name in found for end in ("_low", "_high") if name.endswith(end) and name[: -len(end)] in found}
    told |= {"images"}  # before the figures
    return ", ".join(_figure(name, found) for name in found if name not in told) or "nothing is known"


def _figure(name: str, found: Mapping[str, float]) -> str:
    value = f"{name.replace('_', ' ')} {found[name]:.3f}"
    low, high = found.get(f"{name}_low"), found.get(f"{name}_high")
    return value if low is None or high is None else f"{value} [{low:.3f}, {high:.3f}]"
