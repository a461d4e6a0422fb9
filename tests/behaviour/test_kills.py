"""The pipeline by DVC, killed with SIGKILL while each stage writes, gives what a pipeline that nobody kills gives.

The kill comes from inside: an audit hook in the process of the stage counts its writes (files opened for writing,
renamed or removed, folders made) and kills the whole process group, DVC too, before a chosen one.
By default one stage is killed once; DEEPFAKE_KILLS_PER_STAGE=12 kills all seven at that many moments, as at night.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.behaviour.test_pipeline import FILES, STAGES, SourceArchive
from tests.pipeline_checkout import copy_repository

KILLS = int(os.environ.get("DEEPFAKE_KILLS_PER_STAGE", "0"))
KILLED_STAGES = STAGES if KILLS else ("prepare",)
whole_pipeline = pytest.mark.skipif(not KILLS, reason="seven stages, minutes: DEEPFAKE_KILLS_PER_STAGE=1")
# `-m` is not yet in sys.argv when Python imports sitecustomize; processes of a pool have another command line.
HOOK = """
import atexit, os, signal, sys
ROOT, STAGE, AT = os.environ["KILL_ROOT"] + os.sep, os.environ["KILL_STAGE"], int(os.environ["KILL_AT"])
writes = []

def hook(event, arguments):
    if event == "open":
        name, mode, flags = arguments
        name = name if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR) else None
    else:
        name = arguments[0] if event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir") else None
    if isinstance(name, (str, os.PathLike)) and os.path.abspath(name).startswith(ROOT):
        writes.append(event)
        if len(writes) == AT:
            os.killpg(0, signal.SIGKILL)

def count(to, pid):
    if os.getpid() == pid:
        with open(to, "w") as stream:
            print(len(writes), file=stream)

if sys.orig_argv[-2:] == ["-m", f"pipelines.{STAGE}"] or STAGE == "all" and "-m" in sys.orig_argv[-2:]:
    if AT == 0:
        atexit.register(count, os.path.join(os.environ["KILL_COUNTS"], sys.orig_argv[-1]), os.getpid())
    sys.addaudithook(hook)
"""
UNCOMMITTED = (".dvc/tmp", ".cache/dvc")  # DVC's own

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class KilledArchive(SourceArchive):
    """A source archive whose stages count their writes, or are killed before one of them.

    Args:
        root: of the copy.
        home: empty folder.
        hook: folder of the hook and of the counts.
    """

    def __init__(self, root: Path, home: Path, hook: Path) -> None:
        super().__init__(root, home)
        self.hook, self.stage, self.kill_at = hook, "all", 0

    @property
    def environment(self) -> dict[str, str]:
        """With the hook first on Python's path."""
        inherited = super().environment
        return inherited | {
            "PYTHONPATH": f"{self.hook}{os.pathsep}{inherited['PYTHONPATH']}",
            "KILL_ROOT": str(self.root),
            "KILL_COUNTS": str(self.hook),
            "KILL_STAGE": self.stage,
            "KILL_AT": str(self.kill_at),
        }

    def writes_of(self, stage: str) -> int:
        """How many writes the stage made when nobody killed it."""
        return int((self.hook / f"pipelines.{stage}").read_text(encoding="utf-8"))

    def kill(self, stage: str, at: int) -> None:
        """Start a stage and have it killed before write number `at`."""
        self.stage, self.kill_at = stage, at
        process = self.start("dvc", "repro", "--no-run-cache", stage)
        output, _ = process.communicate(timeout=500)
        assert process.returncode == -signal.SIGKILL, output
        self.stage, self.kill_at = "all", 0

    def locked(self) -> dict[str, Any]:
        """Digests of all inputs and outputs of all stages."""
        content: dict[str, Any] = yaml.safe_load((self.root / "dvc.lock").read_text(encoding="utf-8"))["stages"]
        return content

    def left_over(self) -> list[str]:
        """Temporary files and folders of this program."""
        names = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*"))
        temporary = (name for name in names if name.endswith(".part") or "/.tmp" in name)
        return sorted(name for name in temporary if not name.startswith(UNCOMMITTED))


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hook")
    (folder / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    return folder


def make_archive(tmp_path_factory: pytest.TempPathFactory, hook: Path) -> KilledArchive:
    root = tmp_path_factory.mktemp("pipeline") / "checkout"
    copy_repository(root, FILES, images=(40, 20, 20), epochs=2)
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["evaluate"] |= {"bootstrap": 100, "grid_images": 8, "explain_images": 2, "simulated_videos": 20}
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    archive = KilledArchive(root, tmp_path_factory.mktemp("home"), hook)
    archive.run("dvc", "config", "--local", "core.no_scm", "true")
    return archive


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory, hook: Path) -> KilledArchive:
    """A pipeline that nobody kills; the tests run its stages, in order."""
    return make_archive(tmp_path_factory, hook)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, hook: Path) -> KilledArchive:
    """A pipeline whose stages the tests kill, in order."""
    return make_archive(tmp_path_factory, hook)


def moments(writes: int) -> list[int]:
    """Numbers of the writes before which a stage is killed, evenly over all."""
    kills = max(KILLS, 1)
    return sorted({max(1, round(writes * (i + 0.5) / kills)) for i in range(kills)})


@pytest.mark.parametrize("stage", KILLED_STAGES)
def test_a_stage_that_is_killed_runs_again_with_the_same_outputs(
    unharmed: KilledArchive, killed: KilledArchive, stage: str
) -> None:
    unharmed.run("dvc", "repro", "--no-run-cache", stage)
    for at in moments(unharmed.writes_of(stage)):
        killed.kill(stage, at)
    killed.run("dvc", "repro", "--no-run-cache", stage)
    assert killed.locked()[stage] == unharmed.locked()[stage]


@whole_pipeline
def test_nothing_is_lost_and_nothing_is_left(unharmed: KilledArchive, killed: KilledArchive) -> None:
    assert killed.locked() == unharmed.locked()
    registered, packaged = killed.read_report("register"), killed.read_report("package")
    assert registered["champion"]["version"] == "1"
    assert packaged["bundle_sha256"] == unharmed.read_report("package")["bundle_sha256"]
    assert packaged["serves"]["name"] == unharmed.read_report("package")["serves"]["name"]
    versions = killed.python(
        "from deepfake_detector.registry.model_registry import read_registry\n"
        "print(sorted(each.number for each in read_registry('deepfake-detector').versions))"
    )
    assert versions.splitlines()[-1] == "['1']"
    assert killed.left_over() == []


@whole_pipeline
def test_a_lost_output_comes_back_from_the_cache(killed: KilledArchive) -> None:
    """What DVC stored was whole, although its writers were killed."""
    before = killed.locked()
    for name in ("data", "models"):
        shutil.rmtree(killed.root / name)
    killed.run("dvc", "checkout")
    assert killed.run("dvc", "status").strip() == "Data and pipelines are up to date."
    assert killed.locked() == before
