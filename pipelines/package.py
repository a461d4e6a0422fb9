"""Champion's bundle (reports/register.json) -> BentoML model and bento, and reports/package.json."""

from __future__ import annotations

import sys

from deepfake_detector.serving.bento import package, read_champion, report_of
from deepfake_detector.settings import read_settings
from deepfake_detector.workspace import Workspace
from pipelines.stage import run_stage, write_report


def main() -> None:
    """Package the champion; does nothing, quickly, when its bento is there already."""
    workspace = Workspace().enter()
    settings = read_settings(workspace.params).package
    champion = read_champion(workspace.report("register"), workspace.root)
    packaged = package(champion, workspace.root, settings.bento_name)
    write_report(workspace.report("package"), report_of(packaged))
    print(f"{packaged.bento}: {'built' if packaged.built else 'nothing to do'}")


if __name__ == "__main__":
    sys.exit(run_stage(main))
