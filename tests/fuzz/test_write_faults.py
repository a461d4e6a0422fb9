"""Every writer of the product, with a fault at each of its steps: a clear error, the old file, and nothing beside it.

Two layers fail: an audit hook raises where Python opens, renames or makes something (ENOSPC, EIO, EMFILE), and a limit
on the size of files makes the writes themselves fail, those of C libraries, too (EFBIG, handled as a full disk).
"""

from __future__ import annotations

import ast
import errno
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from deepfake_detector.cli.predict import _write_png
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.errors import DetectorError, ToolFailed
from deepfake_detector.io import atomic_directory, atomic_write, machine_failure, write_failure, write_json
from deepfake_detector.model.bundle import Bundle, sign_bundle
from deepfake_detector.model.bundle_signature import SIGNATURE, create_key_pair
from deepfake_detector.packaging import _delete_incomplete
from deepfake_detector.plotting import save_plot
from deepfake_detector.scanning.discovery import FoundFile
from deepfake_detector.scanning.journal import ScanJournal
from deepfake_detector.scanning.rows import ScanRow, choose_writer, write_table
from deepfake_detector.validation.manifest import write_manifest
from pipelines.stage import run_stage

SOURCE = Path(__file__).parents[2] / "src" / "deepfake_detector"
FAULTS = [errno.ENOSPC, errno.EIO, errno.EMFILE]
EVENTS = ("os.rename", "os.mkdir")


@dataclass
class Fault:
    """What the audit hook raises: error `number` at step `at` (from 1) below `folder`; nothing without a folder."""

    folder: str = ""
    number: int = errno.ENOSPC
    at: int = 0
    steps: list[str] = field(default_factory=list)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.folder or (event != "open" and event not in EVENTS):
            return
        name = arguments[0]
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if isinstance(name, str | os.PathLike) and os.path.abspath(name).startswith(self.folder + os.sep):  # noqa: PTH100
            self.steps.append(event)
            if len(self.steps) == self.at:
                raise OSError(self.number, os.strerror(self.number), str(name))


FAULT = Fault()


@pytest.fixture(scope="module", autouse=True)
def _hook() -> Iterator[None]:
    sys.addaudithook(FAULT)  # cannot be taken away again; without a folder it does nothing
    yield
    FAULT.folder = ""


@contextmanager
def fault(folder: Path, number: int, at: int) -> Iterator[None]:
    FAULT.folder, FAULT.number, FAULT.at, FAULT.steps = str(folder), number, at, []
    try:
        yield
    finally:
        FAULT.folder = ""


@contextmanager
def small_files(most_bytes: int) -> Iterator[None]:
    """Files of this process cannot grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_rows(path: Path) -> None:
    write_table(path, [ScanRow(f"{i}.jpg", "image", "fake", 0.5) for i in range(50)], choose_writer(path), False)


def write_folder(path: Path) -> None:
    with atomic_directory(path) as fresh:
        (fresh / "a").write_bytes(bytes(500))
        pd.DataFrame({"a": range(99)}).to_csv(fresh / "b.csv")


def draw_line(axes: Axes) -> None:
    axes.plot([1, 2])


def pack(path: Path) -> None:
    with atomic_write(path) as temporary:
        write_zip(temporary, ((f"train/real/{i}.jpg", bytes(300)) for i in range(9)))


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def exit_code(error: BaseException) -> int:
    """Of the command that meets it."""
    known = machine_failure(error) or error
    assert isinstance(known, DetectorError), repr(error)
    return known.exit_code


def failure_of(writer: Callable[[], object], folder: Path, number: int, at: int) -> OSError | DetectorError | None:
    """What a writer raises with a fault at a step; None if it does not need that step, or tries again by itself."""
    try:
        with fault(folder, number, at):
            writer()
    except (OSError, DetectorError) as error:
        return error
    return None


def restore(folder: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(folder)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def assert_faults_change_nothing(writer: Callable[[], object], folder: Path, number: int) -> None:
    """Let each step of a writer fail in turn, then let it succeed."""
    before, failures = content_of(folder), 0
    assert failure_of(writer, folder, number, at=0) is None
    steps, after = len(FAULT.steps), set(content_of(folder))
    for at in range(1, steps + 1):
        restore(folder, before)
        error = failure_of(writer, folder, number, at)
        if error is None:
            assert set(content_of(folder)) == after
            continue
        failures += 1
        assert os.strerror(number) in str(error), error
        assert exit_code(error) == 2
        assert content_of(folder) == before, (at, FAULT.steps)
    assert failures
    restore(folder, before)
    writer()


WRITERS: dict[str, Callable[[Path], object]] = {
    "report.json": lambda path: write_json(path, {"text": "x" * 400}),
    "rows.csv": write_rows,
    "rows.parquet": write_rows,
    "manifest.parquet": lambda path: write_manifest(pd.DataFrame({"a": range(999)}), path),
    "explained.png": lambda path: _write_png(path, bytes(500)),
    "figure.png": lambda path: save_plot(path, (2, 2), draw_line),
    "folder": write_folder,
    "archive.zip": pack,
}


def prepare(folder: Path, name: str) -> dict[str, bytes]:
    """An older output in a folder of its own; caches and imports of the writer are warm."""
    (folder / "warm").mkdir()
    WRITERS[name](folder / "warm" / name)
    target = folder / "out" / name
    target.parent.mkdir()
    if name == "folder":
        target.mkdir()
        (target / "old").write_bytes(b"old")
    else:
        target.write_bytes(b"old")
    return content_of(folder / "out")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
def test_a_fault_at_any_step_leaves_the_old_output_and_nothing_else(tmp_path: Path, name: str, number: int) -> None:
    before, target = prepare(tmp_path, name), tmp_path / "out" / name
    assert_faults_change_nothing(lambda: WRITERS[name](target), tmp_path / "out", number)
    assert content_of(tmp_path / "out") != before


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("most_bytes", [0, 1, 100])
def test_a_disk_that_fills_up_leaves_the_old_output_and_nothing_else(
    tmp_path: Path, name: str, most_bytes: int
) -> None:
    before = prepare(tmp_path, name)
    with pytest.raises((OSError, DetectorError)) as caught, small_files(most_bytes):
        WRITERS[name](tmp_path / "out" / name)
    assert exit_code(caught.value) == 2
    assert content_of(tmp_path / "out") == before


@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
def test_a_bundle_is_sealed_signed_and_copied_whole_or_not_at_all(
    tmp_path: Path, tiny: Any, tiny_bundle: Bundle, number: int
) -> None:
    from deepfake_detector.model.bundle import write_bundle

    create_key_pair(tmp_path / "key.pem", tmp_path / "key.pub.pem")
    graph, reference = (tiny_bundle.path / name for name in ("detector.onnx", "reference.npz"))
    write_bundle(tmp_path / "bundle", graph, tiny.contract(), reference, "# old\n")

    def seal() -> None:
        write_bundle(tmp_path / "bundle", graph, tiny.contract(temperature=1.0), reference, "# new\n")

    assert_faults_change_nothing(seal, tmp_path, number)
    assert_faults_change_nothing(lambda: sign_bundle(tmp_path / "bundle", tmp_path / "key.pem"), tmp_path, number)
    assert (tmp_path / "bundle" / SIGNATURE).exists()


@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
def test_no_half_pair_of_keys_is_left(tmp_path: Path, number: int) -> None:
    private, public = tmp_path / "pair" / "key.pem", tmp_path / "pair" / "key.pub.pem"
    private.parent.mkdir()
    (private.parent / "other").write_bytes(b"")
    assert_faults_change_nothing(lambda: create_key_pair(private, public), private.parent, number)
    assert set(content_of(tmp_path)) == {"pair/key.pem", "pair/key.pub.pem", "pair/other"}
    with pytest.raises(OSError, match="File too large"), small_files(10):
        create_key_pair(tmp_path / "other.pem", tmp_path / "other.pub.pem")
    assert set(content_of(tmp_path)) == {"pair/key.pem", "pair/key.pub.pem", "pair/other"}


def record_many(path: Path) -> None:
    journal = ScanJournal(path, {"model": "a"})
    try:
        for i in range(400):
            journal.record(FoundFile(f"{i}.jpg", 1), ScanRow(f"{i}.jpg" * 20))
        journal.commit()
    finally:
        journal.close()


@pytest.mark.parametrize("most_bytes", [0, 4096, 20_000])
def test_the_journal_of_a_scan_on_a_full_disk_is_an_error_of_the_tool_and_keeps_its_rows(
    tmp_path: Path, most_bytes: int
) -> None:
    path = tmp_path / "journal"
    if most_bytes:
        journal = ScanJournal(path, {"model": "a"})
        journal.record(FoundFile("kept.jpg", 1), ScanRow("kept.jpg"))
        journal.close()
    with small_files(most_bytes), pytest.raises(Exception, match=r"full|disk I/O") as caught:
        record_many(path)
    assert exit_code(caught.value) == 2
    again = ScanJournal(path, {"model": "a"})
    assert again.reuse(FoundFile("kept.jpg", 1)) == bool(most_bytes)
    again.close()


@pytest.mark.parametrize("number", [*FAULTS, errno.EDQUOT, errno.ENFILE], ids=errno.errorcode.get)
def test_a_stage_says_what_is_full_and_does_not_call_it_a_bug(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        try:
            raise OSError(number, os.strerror(number), "data/raw/sample.zip")
        except OSError as error:
            raise RuntimeError("a library could not write") from error

    assert run_stage(main) == 2
    said = capsys.readouterr().err
    assert f"data/raw/sample.zip: {os.strerror(number)}" in said
    assert "hint: " in said
    assert "bug" not in said
    assert "Traceback" not in said


def test_other_errors_are_none_of_the_machine() -> None:
    for error in (ValueError("x"), OSError(errno.ENOENT, "no such file"), KeyError("disk")):
        assert machine_failure(error) is None
    assert write_failure(Path("a"), OSError(errno.EACCES, "denied")).exit_code == 1
    assert write_failure(Path("a"), OSError(errno.EMFILE, "too many")).exit_code == 2
    assert "ulimit" in write_failure(Path("a"), OSError(errno.EMFILE, "too many")).hint


@pytest.mark.slow
def test_a_scan_on_a_full_disk_ends_with_2_and_one_sentence(tmp_path: Path, tiny_bundle: Bundle, portrait: Any) -> None:
    from deepfake_detector.media.image import encode_png

    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.png").write_bytes(encode_png(portrait))
    (tmp_path / "rows.csv").write_bytes(b"old")
    code = (
        "import resource, sys\n"
        "from deepfake_detector.cli.app import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "main()\n"
    )
    arguments = ["scan", str(tmp_path / "files"), "--out", str(tmp_path / "rows.csv"), "--model", str(tiny_bundle.path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: [tool_failed]") == 1
    assert (tmp_path / "rows.csv").read_bytes() == b"old"


# Writers that need no atomic_write around them: why.
NOT_ATOMIC = {
    "datasets/sources.py": "_copy_file writes the temporary file of `fetch`",
    "datasets/safe_zip.py": "writes the temporary file of its callers",
    "datasets/reconstructed_pairs.py": "an image in memory",
    "evaluation/result_tables.py": "the folder of `write_report` is atomic",
    "evaluation/labelled_videos.py": "a scratch folder",
    "model/export.py": "scratch folders; `save_trained` is atomic",
    "model/bundle_upgrade.py": "a scratch folder",
    "model/bundle_signature.py": "a private key replaces nothing, and is deleted after an error",
    "media/image.py": "an image in memory",
    "media/corruptions.py": "an image in memory",
    "packaging.py": "BentoML's model is created in a temporary folder; scratch folders",
    "preparation/shard_writer.py": "a folder that `PartialShards.publish` moves",
    "recipe.py": "a scratch folder",
    "registry/logged_models.py": "a scratch folder",
    "scanning/storage.py": "a scratch file",
    "scanning/unit_worker.py": "an empty lock",
    "scanning/rows.py": "`write_table` is atomic",
    "training/fit.py": "`Checkpoint.save` is atomic",
    "validation/data_docs.py": "the folder is atomic",
}
WRITING = {
    "save",
    "write_text",
    "write_bytes",
    "to_csv",
    "to_parquet",
    "savez",
    "savez_compressed",
    "savefig",
    "copytree",
    "copyfile",
}


def is_writing(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    texts = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return name in WRITING or (
        name in ("open", "fdopen", "ZipFile") and any(text[:1] in "wax" and len(text) < 4 for text in texts if text)
    )


def unprotected(node: ast.AST, inside: bool = False) -> Iterator[int]:
    """Lines of writing calls that lie in no `with atomic_write` or `with atomic_directory`."""
    if isinstance(node, ast.With):
        inside = inside or any("atomic_" in ast.unparse(item.context_expr) for item in node.items)
    if isinstance(node, ast.Call) and not inside and is_writing(node):
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from unprotected(child, inside)


def test_every_writer_is_atomic_or_has_a_reason() -> None:
    found = {
        path.relative_to(SOURCE).as_posix(): lines
        for path in SOURCE.rglob("*.py")
        if (lines := list(unprotected(ast.parse(path.read_text(encoding="utf-8"))))) and path.name != "io.py"
    }
    assert {name: lines for name, lines in found.items() if name not in NOT_ATOMIC} == {}
    assert set(NOT_ATOMIC) - set(found) == set()  # no reason outlives its writer


def test_archives_that_are_cut_are_not_taken_for_whole(tmp_path: Path) -> None:
    """Why the writers of archives may be killed: a zip without its end is refused."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", np.zeros(500, np.uint8).tobytes())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(path)


def test_the_error_of_a_full_disk_is_one_of_the_tool() -> None:
    found = machine_failure(OSError(errno.ENOSPC, "No space left on device", "a.csv"))
    assert isinstance(found, ToolFailed)
    assert found.message == "a.csv: No space left on device"


def test_what_a_killed_packaging_left_in_the_store_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BentoML lists no bento while one beside it lacks its bento.yaml, so every later `package` would fail."""
    for kind, manifest in (("bentos", "bento.yaml"), ("models", "model.yaml")):
        for version in ("whole", "cut"):
            (tmp_path / kind / "detector" / version / "src").mkdir(parents=True)
        (tmp_path / kind / "detector" / "whole" / manifest).touch()
        (tmp_path / kind / "detector" / "latest").write_text("cut")
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    _delete_incomplete("detector")
    _delete_incomplete("unknown")
    for kind in ("bentos", "models"):
        assert sorted(path.name for path in (tmp_path / kind / "detector").iterdir()) == ["latest", "whole"]
