"""Each refusal of the sandbox, tried by a process that has confined itself, as this user and as nobody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import deepfake_detector
from deepfake_detector.serving import sandbox
from deepfake_detector.serving.landlock import landlock_abi
from deepfake_detector.serving.seccomp import ALLOWED, filter_program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux'")
PROBE = Path(__file__).with_name("sandbox_probe.py")
NOBODY = 65534
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


def interpreter_of(user: int) -> str | None:
    """An interpreter of this version that the user may execute."""
    for name in filter(None, (sys.executable, shutil.which(PYTHON, path="/usr/bin:/usr/local/bin"))):
        command = [name, "-c", "import pydantic, deepfake_detector"]
        try:
            subprocess.run(command, user=user, env=environment(), check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.CalledProcessError):
            continue
        return name
    return None


def environment() -> dict[str, str]:
    folders = [str(Path(deepfake_detector.__file__).parents[1]), sysconfig.get_path("purelib")]
    return {"PYTHONPATH": os.pathsep.join(folders), "DEEPFAKE_SERVE_TOKEN": "a-secret-of-the-service"}


@pytest.fixture(scope="module", params=["this user", "nobody"])
def probed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the probe reports as one user, with all of the machine's protections in the way or none."""
    user = os.getuid() if request.param == "this user" else NOBODY
    if user != os.getuid() and os.getuid() != 0:
        pytest.skip("only root may become another user")
    interpreter = interpreter_of(user)
    if interpreter is None:
        pytest.skip(f"user {user} may execute no {PYTHON} with our packages")
    folder = Path(tmp_path_factory.mktemp("probe"))
    # With pytest-xdist there is one folder more; the rest belongs to the system.
    for parent in (folder, *(each for each in folder.parents if each.name.startswith(("pytest-", "popen-")))):
        parent.chmod(0o755)
    (folder / "uploads").mkdir()
    (folder / "empty").mkdir()
    (folder / "uploads" / "file").write_text("upload")
    (folder / "target").write_text("target")
    for path in (folder, *folder.iterdir(), folder / "uploads" / "file"):
        os.chown(path, user, -1)
    probe = shutil.copy(PROBE, folder / "probe.py")
    done = subprocess.run(
        [interpreter, str(probe), str(folder)],
        user=user, env=environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (folder / "target").read_text() == "target"
    assert {path.name for path in folder.iterdir()} == {"uploads", "empty", "target", "probe.py"}
    return json.loads(done.stdout)


def test_the_report_says_what_this_kernel_enforces(probed: Any) -> None:
    state = probed["state"]
    assert state["landlock_abi"] == landlock_abi()
    assert state["files"].startswith("enforced" if landlock_abi() else "not enforced: ")
    seccomp = os.uname().machine in ("x86_64", "aarch64") and Path("/proc/sys/kernel/seccomp/actions_avail").exists()
    assert state["system_calls"].startswith("enforced" if seccomp else "not enforced: ")
    assert (state["privileges"], state["memory"]) == ("enforced", "enforced")


def test_every_attack_is_refused(probed: Any) -> None:
    """All that the probe tries; what only Landlock or only seccomp refuses is left out where the kernel lacks it."""
    state, outcomes = probed["state"], probed["outcomes"]
    assert len(outcomes) > 55
    read_only = {name for name in outcomes if name.startswith("read ")}
    of_the_parent = {name for name in read_only if name.endswith("of the parent")}  # hidden memory refuses these
    expected = set(of_the_parent)
    if state["files"] == "enforced":
        expected |= read_only
    if state["system_calls"] == "enforced":
        expected |= set(outcomes) - read_only
    assert sorted(name for name in expected if not outcomes[name]) == []


def test_an_upload_can_be_read_and_threads_start(probed: Any) -> None:
    assert probed["works"]


def test_a_worker_has_neither_capabilities_nor_our_environment_nor_new_system_calls(served: Any) -> None:
    state = served.request("GET", "/about").json()["sandbox"]
    assert state == served.dispatcher.pool.sandbox.model_dump()
    for pid in served.dispatcher.pool.pids:
        lines = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        assert lines["NoNewPrivs"] == "1"
        assert {int(lines[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} <= {0}
        assert lines["Seccomp"] == ("2" if state["system_calls"] == "enforced" else "0")
        assert os.getsid(pid) == pid  # a group of its own, which is killed with it
        threads = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
        assert all("Seccomp:\t2" in each for each in threads) or state["system_calls"] != "enforced"


def test_a_worker_gets_only_named_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepfake_detector.serving.worker_process import ENVIRONMENT, _worker_environment

    for name in ("DEEPFAKE_SERVE_TOKEN", "AWS_SECRET_ACCESS_KEY", "KAGGLE_KEY", "LD_PRELOAD", "HOME"):
        monkeypatch.setenv(name, "secret")
    assert set(_worker_environment()) <= {*ENVIRONMENT, "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}


def test_without_landlock_or_seccomp_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a child, because limits stay: what an old kernel answers is put in the place of the system calls."""
    code = (
        "from deepfake_detector.serving import landlock, sandbox, seccomp\n"
        "landlock._call = lambda *_: -1\n"
        "seccomp._MACHINES = {}\n"
        "state = sandbox.confine()\n"
        "print(state.missing, state.landlock_abi)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "['files', 'system_calls'] 0\n"), done.stderr


@pytest.mark.parametrize(("column", "architecture"), [(0, 0xC000003E), (1, 0xC00000B7)])
def test_the_filter_has_no_two_rules_for_one_call_and_jumps_only_forward_within_itself(
    column: int, architecture: int
) -> None:
    program = filter_program(column, architecture, 42)
    assert len(program) < 4096  # the kernel's limit
    for at, (_, if_true, if_false, _) in enumerate(program[:-1]):
        assert max(if_true, if_false) < 256
        assert at + 1 + max(if_true, if_false) < len(program)
    numbers = [numbers[column] for numbers in ALLOWED.values() if numbers[column] >= 0]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.skipif(not Path("/usr/include/asm-generic/unistd.h").exists(), reason="no headers of the kernel")
def test_the_numbers_are_those_of_the_kernels_headers() -> None:
    def numbers(header: str, prefix: str) -> dict[str, int]:
        words = (line.split() for line in Path(header).read_text().splitlines() if line.startswith(f"#define {prefix}"))
        return {w[1].removeprefix("__NR3264_").removeprefix("__NR_"): int(w[2]) for w in words if w[2].isdigit()}

    generic = numbers("/usr/include/asm-generic/unistd.h", "__NR")
    generic |= {"newfstatat": generic["fstatat"]}
    x86_header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    x86 = numbers(str(x86_header), "__NR_") if x86_header.exists() else {}
    for name, (on_x86, on_arm) in ALLOWED.items():
        assert on_arm == generic.get(name, -1 if on_arm == -1 else None), name
        if x86:
            assert on_x86 == x86[name], name


def test_code_paths_hold_this_package_and_its_libraries() -> None:
    paths = {path.resolve() for path in sandbox.code_paths() if path.exists()}
    for module in (deepfake_detector, pytest):
        file = Path(str(module.__file__)).resolve()
        assert any(file.is_relative_to(path) for path in paths)
    assert not any(path in paths for path in (Path("/"), Path.home(), Path.cwd(), Path("/tmp"), Path("/proc")))
