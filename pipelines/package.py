"""Champion's bundle (reports/register.json) and pretrained/ -> BentoML models, bentos and reports/package.json."""

from __future__ import annotations

import sys

from deepfake_detector.config import read_settings
from deepfake_detector.errors import ModelNotFound
from deepfake_detector.inference.model_selection import read_pretrained
from deepfake_detector.io import write_json
from deepfake_detector.packaging import package_champion, package_pretrained, read_champion, report_of
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Package what can serve; does nothing, quickly, when the bentos are there already."""
    workspace = Workspace().enter()
    root, name = workspace.root, read_settings(workspace.params).package.bento_name
    shipped = read_pretrained(root)
    try:
        champion = read_champion(workspace.report("register"), root)
    except ModelNotFound:
        if shipped is None:
            raise
        champion = None  # nothing trained yet: what ships with the code serves
    packaged = package_champion(champion, root, name) if champion else None
    pretrained = package_pretrained(shipped, root, name) if shipped else None
    report = report_of(champion, packaged, shipped, pretrained, root)
    write_json(workspace.report("package"), report)
    for each in (packaged, pretrained):
        if each is not None:
            print(f"{each.bento}: {'built' if each.built else 'nothing to do'}")
    print(f"serves: {report['serves']['name']} ({report['serves']['reason']})")


if __name__ == "__main__":
    sys.exit(run_stage(main))
