"""A stage's main function -> exit code, and a stage's figures -> one JSON report."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepfake_detector.errors import DetectorError


def run_stage(main: Callable[[], None]) -> int:
    """Run a stage; print what went wrong once, for people.

    Returns:
        0 when it finished; the error's own exit code for a known error (1: the input, 2: the tool); 2 otherwise.
    """
    try:
        main()
    except DetectorError as error:
        print(f"\nerror [{error.code}]: {error}", file=sys.stderr)
        return error.exit_code
    except Exception:
        traceback.print_exc()
        print("\nerror [unexpected]: the lines above are a bug in the tool, not in your data", file=sys.stderr)
        return 2
    return 0


def write_report(path: Path, content: Mapping[str, Any]) -> None:
    """Write a report as sorted, indented JSON; the old one stays until the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".json.part")
    fresh.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    fresh.replace(path)


@contextmanager
def quietly() -> Iterator[None]:
    """Hold back what native libraries print to stderr, unless the block fails.

    TensorFlow greets every import with ten lines that no setting of its own silences; they hide the lines that matter.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, os.fdopen(os.dup(2), "wb") as stderr:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            stderr.write(held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr.fileno(), 2)
