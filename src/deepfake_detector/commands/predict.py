"""Files named on the command line -> verdicts: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepfake_detector.commands.options import Model
from deepfake_detector.errors import BadInput, DetectorError, InputTooLarge, ToolFailed

if TYPE_CHECKING:  # OpenVINO and OpenCV take a second to load: only commands that score do so.
    from deepfake_detector.scoring.detector import Detector

Row = dict[str, Any]


def predict(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Images or videos; - reads one from stdin.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array, a row per file.")] = False,
    explain: Annotated[Path | None, typer.Option(help="Write a picture that explains the answer (one FILE).")] = None,
    prior: Annotated[
        float | None, typer.Option(help="Share of fakes where the files come from, above 0 and under 1.")
    ] = None,
    model: Model = None,
) -> None:
    """Judge images and videos, told apart by their content.

    With --json: [{"file": NAME, ...the answer...} or {"file": NAME, "error": {"code", "message", "hint"}}, ...].

    Exit code: 0 all were answered, 1 an input was bad, 2 the tool failed.

    \b
    Examples:
      deepfake predict portrait.jpg clip.mp4              a table
      deepfake predict portrait.jpg --explain why.png     faces boxed, and where the evidence lies
      deepfake predict clip.mp4 --explain why.png         its timeline
      deepfake predict portrait.jpg --prior 0.001         what an alarm is worth where one in a thousand is a fake
      deepfake predict *.jpg --json | jq '.[].verdict'    for programs
      curl -s ADDRESS | deepfake predict -                from standard input
      deepfake predict portrait.jpg --model champion      ask the champion, whatever it was trained on
    """
    if explain is not None and len(files) != 1:
        raise BadInput(f"--explain takes one FILE, not {len(files)}", "call `deepfake predict` once per file")
    from deepfake_detector.scoring.choice import choose
    from deepfake_detector.scoring.detector import Detector
    from deepfake_detector.scoring.prior import posterior_at

    posterior_at(None, prior)  # refuses a wrong one before the model is loaded
    detector = Detector(choose(model).bundle)
    answers = [_row(detector, name, explain, prior) for name in files]
    rows = [row for row, _ in answers]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        from deepfake_detector.scoring.table import print_table

        print_table(rows)
    raise typer.Exit(max(code for _, code in answers))


def _row(detector: Detector, name: str, explain: Path | None, prior: float | None) -> tuple[Row, int]:
    """Answer one file -> its row and exit code; an error is a row too, so that the other files are still answered."""
    try:
        with _file(name, detector.limits.video.max_bytes) as path:
            return {"file": name} | _judge(detector, path, explain, prior), 0
    except DetectorError as error:
        found = error
    except OSError as error:
        found = BadInput(f"cannot read {name}: {error.strerror or error}", "check the name and the permissions")
    except Exception as error:
        found = ToolFailed(f"{type(error).__name__}: {error}", "this is a bug; please report it with the file")
    return {"file": name, "error": {"code": found.code, "message": found.message, "hint": found.hint}}, found.exit_code


def _judge(detector: Detector, path: Path, explain: Path | None, prior: float | None) -> Row:
    answer = detector.file(path, prior)
    if explain is not None:
        from deepfake_detector.media.image import decode_image, encode_png
        from deepfake_detector.scoring.picture import explain_image, explain_video

        if answer.kind == "video":
            page = explain_video(answer)
        else:
            rgb = decode_image(detector.picture(path), detector.limits.image)
            page = explain_image(rgb, detector.judge(rgb), detector.model.thresholds)
        _keep(explain, encode_png(page))
    return answer.model_dump(mode="json")


def _keep(path: Path, png: bytes) -> None:
    fresh = path.with_name(f".{path.name}.part")
    try:
        fresh.write_bytes(png)
        fresh.replace(path)
    except OSError as error:
        raise BadInput(
            f"cannot write {path}: {error.strerror or error}", "name a folder that can be written"
        ) from error


@contextmanager
def _file(name: str, max_bytes: int) -> Iterator[Path]:
    """A path to read from; stdin is copied to a temporary file first, as videos need to be searched."""
    if name != "-":
        yield Path(name)
        return
    with tempfile.NamedTemporaryFile(prefix="deepfake-") as copy:
        data = sys.stdin.buffer.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise InputTooLarge(f"stdin has more than {max_bytes:,} bytes", "send a smaller file")
        copy.write(data)
        copy.flush()
        yield Path(copy.name)
