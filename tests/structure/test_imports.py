"""Who may import whom, and the one door of each heavy library; read from the code's own import lines."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "deepfake_detector"

# A folder may import itself, settings, errors and these; nothing points up.
ALLOWED = {
    "media": set(),
    "data": {"media"},
    "model": {"media"},
    "evidence": {"model"},
    "registry": {"evidence", "model"},
    "scoring": {"media", "model"},
    "serving": {"scoring", "media", "model"},
    "scanning": {"scoring", "media", "model"},
}
# The only modules that may import a heavy library, by the start of their name.
DOORS = {
    "kagglehub": {"data.sources"},
    "great_expectations": {"data.checks", "data.expectations", "data.questions"},
    "cv2": {"media", "data.drawing", "data.camera", "data.sample", "scoring.picture"},
    "tensorflow": {"data.shards", "data.batches", "model.network", "model.training"},
    "keras": {
        "model.network",
        "model.training",
        "model.objective",
        "model.averages",
        "model.checkpoint",
        "model.export",
    },
    "sklearn": {"data.leaks", "evidence", "model.calibration"},
    "mlflow": {"registry"},
    "bentoml": {"serving"},
    "openvino": {"inference"},
    "av": {"media"},
    "c2pa": {"scoring.credentials"},
    "pi_heif": {"media.image"},
    "imagehash": {"data.examine"},
    "matplotlib": {"evidence"},
    "optuna": {"model.search"},
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of all modules that a file imports, anywhere in it; `if TYPE_CHECKING:` blocks left out."""
    names: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        pending.extend(ast.iter_child_nodes(node))
    return names


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_arrows_point_down(path: Path) -> None:
    folder = module_name(path).split(".")[0]
    if folder not in ALLOWED:
        pytest.skip("a module of the top level")
    inner = {n.split(".")[1] for n in imports(path) if n.startswith("deepfake_detector.")}
    forbidden = (inner & set(ALLOWED)) - ALLOWED[folder] - {folder}
    assert not forbidden, f"{module_name(path)} must not import {forbidden}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_heavy_libraries_have_one_door(path: Path) -> None:
    name = module_name(path)
    for library in {n.split(".")[0] for n in imports(path)} & set(DOORS):
        doors = DOORS[library]
        assert any(name == d or name.startswith(f"{d}.") for d in doors), f"{name} imports {library}; doors: {doors}"


def test_scoring_knows_no_training() -> None:
    for path in [*PACKAGE.glob("scoring/*.py"), *PACKAGE.glob("serving/*.py")]:
        inner = {n for n in imports(path) if n.startswith("deepfake_detector.model.")}
        assert all(n.startswith("deepfake_detector.model.bundle") for n in inner), path


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_files_and_functions_are_short_enough_to_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250, "split the file by noun"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "every module opens with one line: input -> output"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= 50, f"{node.name} has {lines} lines"
