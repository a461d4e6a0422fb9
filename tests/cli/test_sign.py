from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deepfake_detector.model.bundle_signature import PUBLIC_KEY_VARIABLE

if TYPE_CHECKING:
    from tests.cli.conftest import RunCli


def test_a_bundle_is_signed_and_then_accepted(
    run_cli: RunCli, tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle").path
    code, stdout, _ = run_cli("sign", str(bundle), "--new-key", str(tmp_path / "me"), model=None)
    assert code == 0
    assert f"{PUBLIC_KEY_VARIABLE}={tmp_path / 'me.pub.pem'}" in stdout
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(tmp_path / "me.pub.pem"))
    assert run_cli("about", model=str(bundle))[0] == 0
    unsigned = tiny.write_bundle(tmp_path / "unsigned").path
    code, _, stderr = run_cli("about", model=str(unsigned))
    assert code == 2
    assert "is not signed, and a signature is required" in stderr
    assert run_cli("sign", str(unsigned), "--key", str(tmp_path / "me.pem"), model=None)[0] == 0
    assert run_cli("about", model=str(unsigned))[0] == 0


def test_what_is_missing_is_named(run_cli: RunCli, tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle").path
    assert "a bundle and a key are needed" in run_cli("sign", str(bundle), model=None)[2]
    code, _, stderr = run_cli("sign", str(tmp_path / "nothing"), "--new-key", str(tmp_path / "k"), model=None)
    assert code == 1
    assert "no model bundle" in stderr
    assert run_cli("sign", "--new-key", str(tmp_path / "other"), model=None)[0] == 0
    assert (tmp_path / "other.pem").is_file()
