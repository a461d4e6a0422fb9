"""Command line -> verdicts: a table for people, JSON for programs; exit 0 answered, 1 bad input, 2 the tool failed."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepfake_detector.errors import BadInput, DetectorError, InputTooLarge, ToolFailed

if TYPE_CHECKING:  # OpenVINO and OpenCV take a second to load: only commands that score do so.
    from deepfake_detector.scoring.detector import Detector

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Tell fake faces from real ones, with reasons.")
Model = Annotated[Path | None, typer.Option("--model", help="Bundle folder; default: the champion, else pretrained/.")]
Row = dict[str, Any]
# Typer brings its own copy of Click, or imports Click, by its version: this is the UsageError of whichever it is.
UsageError: Any = typer.BadParameter.__bases__[0]


@app.command()
def predict(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Images or videos; - reads one from stdin.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array, a row per file.")] = False,
    explain: Annotated[Path | None, typer.Option(help="Write a picture that explains the answer (one FILE).")] = None,
    model: Model = None,
) -> None:
    """Judge images and videos, told apart by their content.

    With --json: [{"file": NAME, ...the answer...} or {"file": NAME, "error": {"code", "message", "hint"}}, ...].
    """
    if explain is not None and len(files) != 1:
        raise BadInput(f"--explain takes one FILE, not {len(files)}", "call `deepfake predict` once per file")
    from deepfake_detector.scoring.choice import choose_bundle
    from deepfake_detector.scoring.detector import Detector

    detector = Detector(choose_bundle(model))
    answers = [_row(detector, name, explain) for name in files]
    rows = [row for row, _ in answers]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        from deepfake_detector.scoring.table import print_table

        print_table(rows)
    raise typer.Exit(max(code for _, code in answers))


@app.command()
def about(model: Model = None) -> None:
    """Say which model answers, on what it was trained and how it was judged."""
    from deepfake_detector.scoring.choice import choose_bundle

    bundle = choose_bundle(model)
    print(json.dumps({"bundle": str(bundle.path), "sha256": bundle.sha256} | bundle.contract.model_dump(), indent=2))


def main() -> None:
    """Run the command line; every known error is one message, without a traceback."""
    try:
        code = app(standalone_mode=False)
    except DetectorError as error:
        code = _complain(f"[{error.code}] {error}", error.exit_code)
    except UsageError as error:  # a wrong option or a missing argument
        error.show()
        code = BadInput.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = _complain("interrupted", 130)
    sys.exit(code)


def _complain(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _row(detector: Detector, name: str, explain: Path | None) -> tuple[Row, int]:
    """Answer one file -> its row and exit code; an error is a row too, so that the other files are still answered."""
    try:
        with _file(name, detector.limits.video.max_bytes) as path:
            return {"file": name} | _judge(detector, path, explain), 0
    except DetectorError as error:
        found = error
    except OSError as error:
        found = BadInput(f"cannot read {name}: {error.strerror or error}", "check the name and the permissions")
    except Exception as error:
        found = ToolFailed(f"{type(error).__name__}: {error}", "this is a bug; please report it with the file")
    return {"file": name, "error": {"code": found.code, "message": found.message, "hint": found.hint}}, found.exit_code


def _judge(detector: Detector, path: Path, explain: Path | None) -> Row:
    from deepfake_detector.media.image import decode_image, encode_png
    from deepfake_detector.scoring.kind import HEAD_BYTES, looks_like_image
    from deepfake_detector.scoring.picture import explain_image, explain_video

    with path.open("rb") as stream:
        is_image = looks_like_image(stream.read(HEAD_BYTES))
    if is_image:
        _refuse_larger(path, detector.limits.image.max_bytes)
        rgb = decode_image(path.read_bytes(), detector.limits.image)
        judged = detector.judge(rgb)
        if explain is not None:
            _keep(explain, encode_png(explain_image(rgb, judged, detector.model.thresholds)))
        return detector.image_of(judged).model_dump(mode="json")
    verdict = detector.video(path)
    if explain is not None:
        _keep(explain, encode_png(explain_video(verdict)))
    return verdict.model_dump(mode="json")


def _keep(path: Path, png: bytes) -> None:
    fresh = path.with_name(f".{path.name}.part")
    try:
        fresh.write_bytes(png)
        fresh.replace(path)
    except OSError as error:
        raise BadInput(
            f"cannot write {path}: {error.strerror or error}", "name a folder that can be written"
        ) from error


def _refuse_larger(path: Path, max_bytes: int) -> None:
    if (found := path.stat().st_size) > max_bytes:
        raise InputTooLarge(f"{path.name} has {found:,} bytes, the limit is {max_bytes:,}", "send a smaller file")


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
