"""One thin file per DVC stage: read settings, call the library, write one report.

The package `deepfake_detector` is imported from the checkout that holds this file, although an editable install may
point to another one: DVC hashes the code of this checkout, so this code must run.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _import_own_package() -> None:
    """Put this checkout's src first; worker processes inherit the path from their parent.

    Raises:
        SystemExit: exit code 2, if the package was imported from elsewhere before, or src holds none.
    """
    source = str(ROOT / "src")
    sys.path[:] = [source, *(path for path in sys.path if path != source)]
    import deepfake_detector

    found = Path(deepfake_detector.__file__ or "").resolve()
    if not found.is_relative_to(source):
        print(
            f"\nerror [other_checkout]: the code in {found.parent} would run, not that of this checkout ({source}): "
            "restore src/, and start the stage as `python -m pipelines.STAGE` in the checkout",
            file=sys.stderr,
        )
        raise SystemExit(2)


_import_own_package()  # on import, because the stages import the package in their first lines
