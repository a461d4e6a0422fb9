"""dvc.yaml and params.yaml are as DVC writes them, and .dvc/config means the same in every folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = ("dvc.yaml", "params.yaml")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A DVC project without git that holds the two files and the committed configuration."""
    (tmp_path / ".dvc").mkdir()
    for name in (*FILES, ".dvc/config"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    config = (tmp_path / ".dvc" / "config").read_text(encoding="utf-8")
    (tmp_path / ".dvc" / "config").write_text(config.replace("[core]", "[core]\n    no_scm = true"), encoding="utf-8")
    return tmp_path


def run(folder: Path, code: str) -> None:
    """Python in a new process: DVC's import takes a second and changes the logging of this one."""
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder / "site-cache")}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_freezing_and_unfreezing_a_stage_changes_no_byte(project: Path) -> None:
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    stages = [name for name, stage in content.items() if "${" not in str(stage)]  # DVC freezes no others
    assert len(stages) == 6
    run(project, f"from dvc.repo import Repo; r = Repo(); [(r.freeze(s), r.unfreeze(s)) for s in {stages}]")
    assert (project / "dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()


@pytest.mark.parametrize("override", ["train.epochs=6", "evaluate.quick=false", "tune.dropout=[0.0, 0.5]"])
def test_an_experiment_with_the_same_value_changes_no_byte(project: Path, override: str) -> None:
    """`dvc exp run -S` calls this function."""
    run(project, f"from dvc.utils.hydra import apply_overrides; apply_overrides('params.yaml', [{override!r}])")
    assert (project / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_no_committed_setting_depends_on_the_current_folder() -> None:
    """DVC takes relative paths as relative to the current folder, but for those of this list."""
    relative_to_the_config = {("plots", "html_template")}
    text = (ROOT / ".dvc" / "config").read_text(encoding="utf-8")
    config = ConfigParser(interpolation=None)
    config.read_string(re.sub(r"(?m)^\s+", "", text))
    values = {(section, key): value for section in config.sections() for key, value in config[section].items()}
    assert {key for key, value in values.items() if "/" in value} == relative_to_the_config
    assert (ROOT / ".dvc" / values["plots", "html_template"]).is_file()


def test_the_makefile_names_an_absolute_site_cache() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "ROOT := $(CURDIR)" in makefile
    assert "export DVC_SITE_CACHE_DIR := $(ROOT)/" in makefile


def test_the_page_of_plots_needs_no_network() -> None:
    page = (ROOT / "docs" / "plots" / "page.html").read_text(encoding="utf-8")
    assert "{plot_divs}" in page
    assert "{scripts}" not in page  # DVC's own, from a network address
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page.split("{plot_divs}")[0].split("<script>")[0])
    assert page.count("<script>") == page.count("</script>") == 3
