from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.cli.app import app
from deepfake_detector.inference.detector import Detector
from deepfake_detector.media.image import decode_image, encode_png
from deepfake_detector.model.bundle import Bundle


@pytest.fixture
def call(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command line with the tiny model -> exit code, stdout, stderr."""

    def run(*arguments: str, model: str | None = str(tiny_bundle.path)) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deepfake", *arguments, *(["--model", model] if model else [])])
        with pytest.raises(SystemExit) as stopped:
            app.main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def red_file(tmp_path: Path, red_portrait: NDArray[np.uint8]) -> Path:
    path = tmp_path / "red.txt"  # names are not believed
    path.write_bytes(encode_png(red_portrait))
    return path


def test_json_is_an_array_with_the_whole_answer(call: Any, red_file: Path, clip: Path) -> None:
    code, out, _ = call("predict", "--json", str(red_file), str(clip))
    image, video = json.loads(out)
    assert code == 0
    assert (image["file"], image["kind"], image["verdict"]) == (str(red_file), "image", "fake")
    assert sum(image["kind_of_fake"].values()) == pytest.approx(1)
    assert (video["kind"], video["verdict"], len(video["timeline"])) == ("video", "fake", 16)


def test_the_table_names_file_verdict_and_reason(call: Any, red_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = call("predict", str(red_file))
    assert code == 0
    assert "red.txt" in out
    assert "fake" in out
    assert "at or above 0.700" in out


def test_bad_files_are_rows_beside_the_answers_and_the_exit_code_is_1(
    call: Any, red_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    names = [
        str(tmp_path / "text.mp4"),
        str(tmp_path / "empty.jpg"),
        str(tmp_path / "gone"),
        str(tmp_path),
        str(red_file),
    ]
    code, out, _ = call("predict", "--json", *names)
    rows = json.loads(out)
    assert code == 1
    assert [row.get("error", {}).get("code") for row in rows] == [
        "unreadable_video",
        "unreadable_video",
        "bad_input",
        "bad_input",
        None,
    ]
    assert all(set(row["error"]) == {"code", "message", "hint"} for row in rows[:4])
    assert rows[4]["verdict"] == "fake"


def test_a_failure_of_the_tool_is_a_row_and_exit_code_2(
    call: Any, red_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(Detector, "judge", broken)
    code, out, _ = call("predict", "--json", str(tmp_path / "gone"), str(red_file))
    assert code == 2
    assert json.loads(out)[1]["error"]["message"] == "ZeroDivisionError: no luck"


def test_explain_writes_a_picture_for_images_and_videos(call: Any, red_file: Path, clip: Path, tmp_path: Path) -> None:
    for name, shape in ((red_file, (480, 448, 3)), (clip, (360, 960, 3))):
        target = tmp_path / "why.png"
        assert call("predict", str(name), "--explain", str(target))[0] == 0
        assert decode_image(target.read_bytes()).shape == shape
        target.unlink()


def test_explain_wants_one_file(call: Any, red_file: Path, tmp_path: Path) -> None:
    code, _, err = call("predict", str(red_file), str(red_file), "--explain", str(tmp_path / "why.png"))
    assert code == 1
    assert "takes one FILE, not 2" in err


def test_a_prior_adds_a_posterior_and_a_wrong_one_is_refused(call: Any, red_file: Path) -> None:
    (row,) = json.loads(call("predict", "--json", "--prior", "0.001", str(red_file))[1])
    assert row["posterior"]["prior"] == 0.001
    assert row["posterior"]["p_fake"] < row["p_fake"]
    code, out, err = call("predict", "--prior", "2", str(red_file))
    assert (code, out) == (1, "")
    assert "the prior is 2.0" in err


def test_a_wrong_model_is_bad_input_and_one_message(call: Any, red_file: Path, tmp_path: Path) -> None:
    code, out, err = call("predict", str(red_file), model=str(tmp_path))
    assert (code, out) == (1, "")
    assert err.startswith("error: [model_not_found] no model bundle at")
    assert "Traceback" not in err


def test_a_changed_model_is_a_failure_of_the_tool(call: Any, red_file: Path, tiny: Any, tmp_path: Path) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle")
    (bundle.path / "card.md").write_text("changed")
    assert call("predict", str(red_file), model=str(bundle.path))[0] == 2


@pytest.mark.parametrize("arguments", [["predict"], ["predict", "--nope", "x"], ["nope"]])
def test_wrong_usage_is_bad_input(call: Any, arguments: list[str]) -> None:
    code, _, err = call(*arguments, model=None)
    assert code == 1
    assert "Usage" in err


def test_about_names_the_model(call: Any, tiny_bundle: Bundle) -> None:
    code, out, _ = call("about", "--json")
    answer = json.loads(out)
    assert code == 0
    assert (answer["sha256"], answer["network"], answer["trained_on"]) == (tiny_bundle.sha256, "tiny", "photographs")
    assert (answer["name"], answer["reason"]) == ("named", "it was named")


def test_about_is_readable_for_people(call: Any, tiny_bundle: Bundle) -> None:
    code, out, _ = call("about")
    assert code == 0
    assert f"answers     named ({tiny_bundle.path})" in out
    assert "accuracy 0.500" in out


def test_a_model_is_asked_for_by_name(call: Any, tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deepfake_detector.inference.model_selection.CHECKOUT", Path(os.sep, "nowhere"))
    drawn = tiny.write_bundle(tmp_path / "drawn", trained_on="drawn sample")
    pretrained = tiny.write_bundle(tmp_path / "pretrained", run_id="1" * 32)
    (tmp_path / "reports").mkdir()
    pointer = {"bundle": "drawn", "bundle_sha256": drawn.sha256}
    (tmp_path / "reports" / "register.json").write_text(json.dumps({"champion": pointer}))
    expected = {None: pretrained.sha256, "champion": drawn.sha256, "pretrained": pretrained.sha256}
    for name, sha256 in expected.items():
        assert json.loads(call("about", "--json", model=name)[1])["sha256"] == sha256
    assert "the champion was trained on the drawn sample only" in call("about", model=None)[1]


@pytest.mark.parametrize("command", ["predict", "scan", "about"])
def test_help_has_examples(call: Any, command: str) -> None:
    code, out, _ = call(command, "--help", model=None)
    assert code == 0
    assert f"deepfake {command} " in out.split("Examples:")[1]


def test_stdin_is_read_and_nothing_heavy_is_loaded(tiny_bundle: Bundle, red_file: Path, clip: Path) -> None:
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
        (row,) = json.loads(done.stdout)
        assert (row["file"], row["kind"], row["verdict"]) == ("-", kind, "fake")


def test_without_a_model_the_next_step_is_named(call: Any, red_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(red_file.parent)
    monkeypatch.setattr("deepfake_detector.inference.model_selection.CHECKOUT", Path(os.sep, "nowhere"))
    code, _, err = call("predict", str(red_file), model=None)
    assert code == 1
    assert "make repro" in err
