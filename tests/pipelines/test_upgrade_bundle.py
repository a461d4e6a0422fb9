from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.model.bundle import read_bundle

ROOT = Path(__file__).parents[2]


def run(arguments: list[str], root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.upgrade_bundle", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=root, env=environment, text=True, capture_output=True, check=False)


@pytest.mark.slow
def test_a_bundle_of_format_2_is_upgraded_in_place(tmp_path: Path, tiny: Any) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    bundle = tiny.write_bundle(tmp_path / "old").path
    content = json.loads((bundle / "contract.json").read_text(encoding="utf-8"))
    del content["video"], content["coverage"]
    (bundle / "contract.json").write_text(json.dumps(content | {"format_version": 2}), encoding="utf-8")
    names = sorted(path.name for path in bundle.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256((bundle / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (bundle / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
    done = run(["old"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no data/shards here" in done.stdout
    contract = read_bundle(bundle).contract
    assert (contract.video.flag_false_positive_rate, contract.video.thresholds) == (0.02, contract.thresholds)
    again = run(["old"], tmp_path)
    assert again.returncode == 1
    assert "only version 2 can be upgraded" in again.stderr
