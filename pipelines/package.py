"""Champion's bundle (reports/register.json) and pretrained/ -> BentoML models, bentos and reports/package.json."""

from __future__ import annotations

import sys

from deepfake_detector.config import read_settings
from deepfake_detector.inference.model_selection import read_pretrained
from deepfake_detector.io import write_json
from deepfake_detector.packaging import (
    find_champion,
    model_change,
    package_champion,
    package_pretrained,
    package_report,
)
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Package the champion and the pretrained model; quick when their bentos are up to date."""
    workspace = Workspace().enter()
    root, bento_name = workspace.root, read_settings(workspace.params).package.bento_name
    shipped, registration = read_pretrained(root), workspace.report("register")
    champion = find_champion(registration, root, shipped is not None)
    packaged = package_champion(champion, root, bento_name) if champion else None
    pretrained = package_pretrained(shipped, root, bento_name) if shipped else None
    report = package_report(champion, packaged, shipped, pretrained, root)
    change = model_change(workspace.report("package"), report)
    write_json(workspace.report("package"), report)
    for model in (packaged, pretrained):
        if model is not None:
            print(f"{model.bento}: {'built' if model.built else 'up to date'}")
    print(f"served by default: {report['serves']['name'] or 'nothing'} ({report['serves']['reason']})")
    if change:
        print(change)


if __name__ == "__main__":
    sys.exit(run_stage(main))
