from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from deepfake_detector.cli.predict import print_table
from deepfake_detector.errors import ModelNotFound, ToolFailed
from deepfake_detector.inference.decision import DRAWN_SAMPLE_WARNING
from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.model_selection import SelectedModel, select_model
from deepfake_detector.media.image import decode_image
from deepfake_detector.model.bundle import Bundle

if TYPE_CHECKING:
    from tests.cli.conftest import RunCli


def test_json_is_an_array_with_the_whole_answers(run_cli: RunCli, red_file: Path, clip: Path) -> None:
    code, stdout, _ = run_cli("predict", "--json", str(red_file), str(clip))
    image, video = json.loads(stdout)
    assert code == 0
    assert (image["file"], image["kind"], image["verdict"]) == (str(red_file), "image", "fake")
    assert sum(image["kind_of_fake"].values()) == pytest.approx(1)
    assert (video["kind"], video["verdict"], len(video["timeline"])) == ("video", "fake", 16)


def test_the_table_has_file_verdict_and_reason(
    run_cli: RunCli, red_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, stdout, _ = run_cli("predict", str(red_file))
    assert code == 0
    assert "red.txt" in stdout
    assert "fake" in stdout
    assert "at or above 0.700" in stdout


def test_errors_stand_beside_the_answers_and_the_exit_code_is_1(
    run_cli: RunCli, red_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    files = [tmp_path / "text.mp4", tmp_path / "empty.jpg", tmp_path / "missing", tmp_path, red_file]
    code, stdout, _ = run_cli("predict", "--json", *map(str, files))
    answers = json.loads(stdout)
    codes = [answer.get("error", {}).get("code") for answer in answers]
    assert code == 1
    assert codes == ["unreadable_video", "unreadable_video", "bad_input", "bad_input", None]
    assert all(set(answer["error"]) == {"code", "message", "hint"} for answer in answers[:4])
    assert answers[4]["verdict"] == "fake"


def test_an_unexpected_exception_is_an_error_and_exit_code_2(
    run_cli: RunCli, red_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(Detector, "score_faces", fail)
    code, stdout, _ = run_cli("predict", "--json", str(tmp_path / "missing"), str(red_file))
    assert code == 2
    assert json.loads(stdout)[1]["error"]["message"] == "ZeroDivisionError: no luck"


def test_explain_writes_a_picture_for_images_and_videos(
    run_cli: RunCli, red_file: Path, clip: Path, tmp_path: Path
) -> None:
    for name, shape in ((red_file, (480, 448, 3)), (clip, (360, 960, 3))):
        target = tmp_path / "why.png"
        assert run_cli("predict", str(name), "--explain", str(target))[0] == 0
        assert decode_image(target.read_bytes()).shape == shape
        target.unlink()


def test_explain_takes_one_file(run_cli: RunCli, red_file: Path, tmp_path: Path) -> None:
    code, _, stderr = run_cli("predict", str(red_file), str(red_file), "--explain", str(tmp_path / "why.png"))
    assert code == 1
    assert "takes one FILE, not 2" in stderr


def test_a_prior_adds_a_posterior_and_a_wrong_one_is_rejected(run_cli: RunCli, red_file: Path) -> None:
    (answer,) = json.loads(run_cli("predict", "--json", "--prior", "0.001", str(red_file))[1])
    assert answer["posterior"]["prior"] == 0.001
    assert answer["posterior"]["p_fake"] < answer["p_fake"]
    code, stdout, stderr = run_cli("predict", "--prior", "2", str(red_file))
    assert (code, stdout) == (1, "")
    assert "the prior is 2.0" in stderr


def test_stdin_is_read_and_no_heavy_library_is_loaded(tiny_bundle: Bundle, red_file: Path, clip: Path) -> None:
    code = (
        "import sys; sys.argv = ['deepfake', 'predict', '--json', '-', '--model', sys.argv[1]]\n"
        "from deepfake_detector.cli.app import main\n"
        "light = not {'cv2', 'openvino', 'av'} & set(sys.modules)\n"
        "try: main()\n"
        "except SystemExit as stop: code = stop.code\n"
        "heavy = {'tensorflow', 'keras', 'mlflow', 'great_expectations', 'bentoml', 'pandas', 'matplotlib', 'scipy',\n"
        "         'pyarrow', 'c2pa', 'pi_heif', 'openvino.tools', 'av'} & set(sys.modules)\n"
        "print(light, code, sorted(heavy), file=sys.stderr)"
    )
    for path, kind, needed in ((red_file, "image", "[]"), (clip, "video", "['av']")):
        with path.open("rb") as stdin:
            done = subprocess.run(
                [sys.executable, "-c", code, str(tiny_bundle.path)],
                stdin=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
        assert done.stderr.strip().splitlines()[-1] == f"True 0 {needed}", done.stderr
        (answer,) = json.loads(done.stdout)
        assert (answer["file"], answer["kind"], answer["verdict"]) == ("-", kind, "fake")


# The table


def table(*answers: dict[str, Any], width: int = 100) -> str:
    out = io.StringIO()
    print_table(list(answers), Console(file=out, width=width, no_color=True))
    return out.getvalue()


def answer(name: str, **changed: object) -> dict[str, Any]:
    return {
        "file": name,
        "verdict": "fake",
        "p_fake": 0.91234,
        "evidence": "very strong",
        "kind_of_fake": None,
        "reasons": ["because"],
    } | changed


def test_an_answer_is_one_row() -> None:
    (row,) = [line for line in table(answer("/a/b/face.jpg")).splitlines() if "face.jpg" in line]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == ["face.jpg", "fake", "0.912", "very strong", "because"]


@pytest.mark.parametrize(
    ("verdict", "swap", "is_shown"), [("fake", 0.83, True), ("fake", 0.55, False), ("real", 0.83, False)]
)
def test_the_kind_of_a_fake_is_shown_where_it_is_clear(verdict: str, swap: float, is_shown: bool) -> None:
    shares = {"synthetic": 1 - swap, "swap": swap}
    assert ("swap" in table(answer("a.jpg", verdict=verdict, kind_of_fake=shares))) == is_shown


def test_the_warning_about_the_model_is_printed_once() -> None:
    answers = [answer(name, reasons=[DRAWN_SAMPLE_WARNING, "because"]) for name in ("a.jpg", "b.jpg")]
    assert " ".join(table(*answers).split()).count(DRAWN_SAMPLE_WARNING) == 1
    assert DRAWN_SAMPLE_WARNING not in table(answer("a.jpg"))


def test_without_a_score_the_cell_is_empty_and_names_are_no_markup() -> None:
    text = table(answer("[red]x.jpg", verdict="inconclusive", p_fake=None, evidence=None))
    assert "[red]x.jpg" in text
    assert "None" not in text


def test_an_error_has_message_and_hint() -> None:
    text = table({"file": "x.mp4", "error": {"code": "c", "message": "it is empty", "hint": "send another"}})
    assert "it is empty (send another)" in text


def test_posterior_and_credentials_are_lines_and_absent_credentials_are_none() -> None:
    credentials = {"state": "untrusted", "note": "unknown signer"}
    posterior = {"prior": 0.001, "p_fake": 0.0101}
    text = table(answer("a.jpg", posterior=posterior, content_credentials=credentials), width=200)
    assert "where 0.1 % of the files are fake, this one is fake with probability 1 %" in text
    assert "Content Credentials untrusted: unknown signer" in text
    plain = table(answer("a.jpg", posterior=None, content_credentials={"state": "absent", "note": "means nothing"}))
    assert "Credentials" not in plain


@pytest.mark.parametrize(
    "target", ["self", "hard link", "symbolic link", "folder", "device", "pipe", "jpg", "no suffix"]
)
def test_explain_replaces_no_input_device_or_folder_and_writes_only_png(
    run_cli: RunCli, red_file: Path, tmp_path: Path, target: str
) -> None:
    source = tmp_path / "self.png"
    shutil.copy(red_file, source)
    (tmp_path / "hard.png").hardlink_to(source)
    (tmp_path / "symbolic.png").symlink_to(source)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    names = {"self": "self.png", "hard link": "hard.png", "symbolic link": "symbolic.png", "folder": "folder.png"}
    names |= {"device": "/dev/null", "pipe": "pipe.png", "jpg": "why.jpg", "no suffix": "why"}
    before = sorted(path.name for path in tmp_path.iterdir())
    code, _, stderr = run_cli("predict", str(source), "--explain", str(tmp_path / names[target]))
    assert code == 1, stderr
    assert source.read_bytes() == red_file.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_full_disk_is_exit_code_2(run_cli: RunCli, red_file: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    code, stdout, _ = run_cli("predict", str(red_file), "--json", "--explain", str(tmp_path / "why.png"))
    assert (code, json.loads(stdout)[0]["error"]["code"]) == (2, "tool_failed")
    assert list(tmp_path.iterdir()) == [red_file]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_standard_output_is_exit_code_2() -> None:
    code = "import sys; sys.argv = ['deepfake', '--help']; from deepfake_detector.cli.app import main; main()"
    command = [sys.executable, "-c", code]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pipe_is_read_once(run_cli: RunCli, red_file: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(red_file.read_bytes()))
    writer.start()
    code, stdout, _ = run_cli("predict", "--json", str(pipe))
    writer.join(10)
    assert (code, json.loads(stdout)[0]["verdict"]) == (0, "fake")


def test_a_pipe_without_a_writer_is_refused_in_time(
    run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_detector.io.PIPE_TIMEOUT_S", 0.2)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code, stdout, _ = run_cli("predict", "--json", str(pipe))
    assert (code, json.loads(stdout)[0]["error"]["code"]) == (1, "bad_input")


def test_devices_and_folders_are_no_files(run_cli: RunCli, tmp_path: Path) -> None:
    code, stdout, _ = run_cli("predict", "--json", "/dev/zero", "/dev/null", str(tmp_path))
    assert code == 1
    assert [answer["error"]["code"] for answer in json.loads(stdout)] == ["bad_input"] * 3


def test_a_champion_that_is_named_but_missing_is_never_replaced_silently(tmp_path: Path, tiny_bundle: Bundle) -> None:
    (tmp_path / "reports").mkdir()
    report = tmp_path / "reports" / "register.json"
    report.write_text(json.dumps({"champion": {"bundle": "models/champion", "bundle_sha256": "0"}}))
    for named in ("champion", None):
        with pytest.raises(ModelNotFound, match=r"no bundle at .*models/champion"):
            select_model(named, tmp_path)
    shutil.copytree(tiny_bundle.path, tmp_path / "pretrained")
    selected = select_model(None, tmp_path)
    assert (selected.name, selected.warning.partition(" at ")[0]) == ("pretrained", "no bundle")
    assert selected.warning.endswith("; pretrained is used")
    report.write_text('{"champion": null}')
    assert select_model(None, tmp_path).warning == ""
    report.write_text('{"champion": {"bundle": "models/cham')
    with pytest.raises(ToolFailed, match="no complete JSON"):
        select_model(None, tmp_path)


def test_a_warning_goes_to_standard_error(
    run_cli: RunCli, red_file: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    selected = SelectedModel(tiny_bundle, "pretrained", "", "no champion")
    monkeypatch.setattr("deepfake_detector.inference.model_selection.select_model", lambda _: selected)
    code, stdout, stderr = run_cli("predict", "--json", str(red_file))
    assert (code, stderr) == (0, "warning: no champion\n")
    assert json.loads(stdout)[0]["verdict"] == "fake"
