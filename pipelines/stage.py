"""A stage's main function -> exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from deepfake_detector.errors import DetectorError
from deepfake_detector.io import escape_unencodable_output, machine_failure


def run_stage(main: Callable[[], None]) -> int:
    """Run a stage; print what went wrong once, for people.

    Returns:
        0 when it finished; the error's own exit code for a known error (1: the input, 2: the tool); 2 otherwise.
    """
    escape_unencodable_output()
    try:
        main()
    except DetectorError as error:
        print(f"\nerror [{error.code}]: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        if (known := machine_failure(error)) is not None:
            print(f"\nerror [{known.code}]: {known}", file=sys.stderr)
            return known.exit_code
        traceback.print_exc()
        print("\nerror [unexpected]: the lines above are a bug in the tool, not in your data", file=sys.stderr)
        return 2
    return 0
