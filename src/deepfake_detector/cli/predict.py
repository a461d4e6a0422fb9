"""Rows of answers -> a table for people, and below it what holds for all of them."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deepfake_detector.cli.options import Model
from deepfake_detector.errors import BadInput, DetectorError, InputTooLarge, ToolFailed
from deepfake_detector.inference.decision import DRAWN_WARNING, leading
from deepfake_detector.io import atomic_write

if TYPE_CHECKING:
    from deepfake_detector.inference.detector import Detector

COLOURS = {"fake": "red", "real": "green", "inconclusive": "yellow", "error": "magenta"}


def print_table(rows: list[dict[str, Any]], console: Console | None = None) -> None:
    """Print one row per file; a warning about the model is said once, not in every row.

    Args:
        rows: answers as JSON objects with `file`, or `file` and `error`.
        console: where to; the terminal by default.
    """
    console = console or Console()
    table = Table(show_lines=len(rows) > 1, expand=True)
    table.add_column("file", overflow="fold", ratio=3)
    for name in ("verdict", "p_fake", "evidence"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="fold", ratio=5)
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    if any(DRAWN_WARNING in row.get("reasons", ()) for row in rows):
        console.print(f"[yellow]Mind:[/] {escape(DRAWN_WARNING)}.")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    name = escape(Path(row["file"]).name)
    if "error" in row:
        error = row["error"]
        return name, _coloured("error"), "", "", escape(f"{error['message']} ({error['hint']})")
    p_fake = "" if row["p_fake"] is None else f"{row['p_fake']:.3f}"
    reasons = [reason for reason in row["reasons"] if reason != DRAWN_WARNING]
    return name, _verdict(row), p_fake, row["evidence"] or "", escape("\n".join([*reasons, *_beside(row)]))


def _beside(row: dict[str, Any]) -> list[str]:
    """What stands beside the score: the prior's effect, and Content Credentials where the file carries some."""
    said = []
    if posterior := row.get("posterior"):
        said.append(f"where {_percent(posterior['prior'])} are fakes, this is one with {_percent(posterior['p_fake'])}")
    if (credentials := row.get("content_credentials")) and credentials["state"] != "absent":
        said.append(f"Content Credentials {credentials['state']}: {credentials['note']}")
    return said


def _verdict(row: dict[str, Any]) -> str:
    found = leading(row["kind_of_fake"]) if row["verdict"] == "fake" else None
    return _coloured(row["verdict"]) + (f"\n{escape(found[0])}" if found else "")


def _coloured(word: str) -> str:
    return f"[{COLOURS[word]}]{word}[/]"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


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
    from deepfake_detector.inference.decision import posterior_at
    from deepfake_detector.inference.detector import Detector
    from deepfake_detector.inference.model_selection import choose

    posterior_at(None, prior)  # refuses a wrong one before the model is loaded
    detector = Detector(choose(model).bundle)
    answers = [_row(detector, name, explain, prior) for name in files]
    rows = [row for row, _ in answers]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        pass

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
        from deepfake_detector.inference.rendering import explain_image, explain_video
        from deepfake_detector.media.image import decode_image, encode_png

        if answer.kind == "video":
            page = explain_video(answer)
        else:
            rgb = decode_image(detector.picture(path), detector.limits.image)
            page = explain_image(rgb, detector.judge(rgb), detector.model.thresholds)
        _keep(explain, encode_png(page))
    return answer.model_dump(mode="json")


def _keep(path: Path, png: bytes) -> None:
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(png)
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
