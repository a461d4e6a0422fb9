"""`deepfake predict`: images and videos -> their verdicts, as a table or JSON, and a picture that explains one."""

from __future__ import annotations

import json
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deepfake_detector.cli.options import Model, print_warning
from deepfake_detector.errors import BadInput, DetectorError, InputTooLarge, ToolFailed
from deepfake_detector.inference.decision import DRAWN_SAMPLE_WARNING, likely_kind
from deepfake_detector.io import atomic_write, check_output, open_pipe, write_failure

if TYPE_CHECKING:
    from deepfake_detector.inference.detector import Detector

JsonObject = dict[str, Any]  # an answer with its `file`, or `file` and `error`
COPY_BYTES = 2**20
LABEL_COLOURS = {"fake": "red", "real": "green", "inconclusive": "yellow", "error": "magenta"}


def predict(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Images or videos; - reads one from stdin.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array with an object per file.")] = False,
    explain: Annotated[Path | None, typer.Option(help="Write a picture that explains the answer (one FILE).")] = None,
    prior: Annotated[
        float | None, typer.Option(help="Share of fakes where the files come from, above 0 and under 1.")
    ] = None,
    model: Model = None,
) -> None:
    """Answer about images and videos; their content decides which of the two they are.

    With --json: [{"file": NAME, ...the answer...} or {"file": NAME, "error": {"code", "message", "hint"}}, ...].

    Exit code: 0 every file has an answer, 1 an input was bad, 2 the tool failed.

    \b
    Examples:
      deepfake predict portrait.jpg clip.mp4              a table
      deepfake predict portrait.jpg --explain why.png     boxes and heatmaps of its faces
      deepfake predict clip.mp4 --explain why.png         scores over time
      deepfake predict portrait.jpg --prior 0.001         probability where one in a thousand is a fake
      deepfake predict *.jpg --json | jq '.[].verdict'    for programs
      curl -s ADDRESS | deepfake predict -                from standard input
      deepfake predict portrait.jpg --model champion      use the champion, whatever it was trained on
    """
    if explain is not None and len(files) != 1:
        raise BadInput(f"--explain takes one FILE, not {len(files)}", "call `deepfake predict` once per file")
    from deepfake_detector.inference.decision import posterior_verdict
    from deepfake_detector.inference.detector import Detector
    from deepfake_detector.inference.model_selection import select_model

    if explain is not None:
        check_output(explain, [Path(name) for name in files if name != "-"], (".png",))
    posterior_verdict(None, prior)  # rejects a wrong prior before the model is loaded
    selected = select_model(model)
    print_warning(selected.warning)
    detector = Detector(selected.bundle)
    results = [_predict_one(detector, name, explain, prior) for name in files]
    answers = [answer for answer, _ in results]
    if as_json:
        print(json.dumps(answers, indent=2))
    else:
        print_table(answers)
    raise typer.Exit(max(code for _, code in results))


def print_table(answers: list[JsonObject], console: Console | None = None) -> None:
    """Print one row per file; a warning about the model is printed once, below the table.

    Args:
        answers: JSON objects with `file`, or `file` and `error`.
        console: where to; the terminal by default.
    """
    console = console or Console()
    table = Table(show_lines=len(answers) > 1, expand=True)
    table.add_column("file", overflow="fold", ratio=3)
    for name in ("verdict", "p_fake", "evidence"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="fold", ratio=5)
    for answer in answers:
        table.add_row(*_cells(answer))
    console.print(table)
    if any(DRAWN_SAMPLE_WARNING in answer.get("reasons", ()) for answer in answers):
        console.print(f"[yellow]Warning:[/] {escape(DRAWN_SAMPLE_WARNING)}.")


def _cells(answer: JsonObject) -> tuple[str, ...]:
    name = escape(Path(answer["file"]).name)
    if "error" in answer:
        error = answer["error"]
        return name, _coloured("error"), "", "", escape(f"{error['message']} ({error['hint']})")
    p_fake = "" if answer["p_fake"] is None else f"{answer['p_fake']:.3f}"
    reasons = [reason for reason in answer["reasons"] if reason != DRAWN_SAMPLE_WARNING]
    text = escape("\n".join([*reasons, *_further_lines(answer)]))
    return name, _verdict_cell(answer), p_fake, answer["evidence"] or "", text


def _further_lines(answer: JsonObject) -> list[str]:
    """The posterior, if a prior was given, and the Content Credentials, if the file has any."""
    lines = []
    if posterior := answer.get("posterior"):
        prior, p_fake = _percent(posterior["prior"]), _percent(posterior["p_fake"])
        lines.append(f"where {prior} of the files are fake, this one is fake with probability {p_fake}")
    if (credentials := answer.get("content_credentials")) and credentials["state"] != "absent":
        lines.append(f"Content Credentials {credentials['state']}: {credentials['note']}")
    return lines


def _verdict_cell(answer: JsonObject) -> str:
    kind = likely_kind(answer["kind_of_fake"]) if answer["verdict"] == "fake" else None
    return _coloured(answer["verdict"]) + (f"\n{escape(kind[0])}" if kind else "")


def _coloured(label: str) -> str:
    return f"[{LABEL_COLOURS[label]}]{label}[/]"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _predict_one(detector: Detector, name: str, explain: Path | None, prior: float | None) -> tuple[JsonObject, int]:
    """The answer about one file, or its error, and the exit code; an error does not stop the other files."""
    try:
        with _readable_path(name, detector.limits.video.max_bytes) as path:
            return {"file": name} | _answer(detector, path, explain, prior), 0
    except DetectorError as error:
        known = error
    except OSError as error:
        known = BadInput(f"cannot read {name}: {error.strerror or error}", "check the name and the permissions")
    except Exception as error:
        known = ToolFailed(f"{type(error).__name__}: {error}", "this is a bug; please report it with the file")
    return {"file": name, "error": {"code": known.code, "message": known.message, "hint": known.hint}}, known.exit_code


def _answer(detector: Detector, path: Path, explain: Path | None, prior: float | None) -> JsonObject:
    verdict = detector.predict_file(path, prior)
    if explain is not None:
        from deepfake_detector.inference.rendering import render_image_explanation, render_timeline
        from deepfake_detector.media.image import decode_image, encode_png

        if verdict.kind == "video":
            picture = render_timeline(verdict)
        else:
            rgb = decode_image(detector.read_image(path), detector.limits.image)
            picture = render_image_explanation(rgb, detector.score_faces(rgb), detector.model.thresholds)
        _write_png(explain, encode_png(picture))
    return verdict.model_dump(mode="json")


def _write_png(path: Path, png: bytes) -> None:
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(png)
    except OSError as error:
        raise write_failure(path, error) from error


@contextmanager
def _readable_path(name: str, max_bytes: int) -> Iterator[Path]:
    """A path to read from; standard input and pipes are copied to a temporary file: they can be read only once."""
    if name == "-":
        with _copy(sys.stdin.buffer, "stdin", max_bytes) as path:
            yield path
        return
    mode = Path(name).stat().st_mode
    if stat.S_ISFIFO(mode):
        with open_pipe(name) as stream, _copy(stream, name, max_bytes) as path:
            yield path
    elif stat.S_ISREG(mode):
        yield Path(name)
    else:
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or a socket"
        hint = "`deepfake scan FOLDER --out FILE.csv` reads folders" if stat.S_ISDIR(mode) else "name a file"
        raise BadInput(f"{name} is {kind}, not a file", hint)


@contextmanager
def _copy(stream: BinaryIO, name: str, max_bytes: int) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(prefix="deepfake-") as copy:
        size = 0
        while chunk := stream.read(COPY_BYTES):
            size += len(chunk)
            if size > max_bytes:
                raise InputTooLarge(f"{name} has more than {max_bytes:,} bytes", "send a smaller file")
            try:
                copy.write(chunk)
                copy.flush()
            except OSError as error:
                raise write_failure(Path(copy.name), error) from error
        yield Path(copy.name)
