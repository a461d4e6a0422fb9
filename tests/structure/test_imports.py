"""Who may import whom, and the one door of each heavy library; read from the code's own import lines."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from deepfake_detector.code_digest import import_closure, imported_names

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "deepfake_detector"

# A package may import itself, the modules beside the packages and these; no two packages import each other.
ALLOWED = {
    "cli": {
        "evaluation",
        "feedback",
        "inference",
        "media",
        "model",
        "monitoring",
        "registry",
        "scanning",
        "serving",
        "tracking",
    },
    "datasets": {"media"},
    "evaluation": {"datasets", "inference", "media", "model", "preparation", "validation"},
    "feedback": {"datasets", "validation"},
    "inference": {"media", "model"},
    "media": set(),
    "monitoring": {"inference", "media", "model", "validation"},
    "model": {"media"},
    "preparation": {"datasets", "media", "validation"},
    "registry": {"evaluation", "inference", "media", "model", "tracking"},
    "scanning": {"inference", "media", "model"},
    "serving": {"feedback", "inference", "media", "model"},
    "tracking": set(),
    "training": {"media", "model", "preparation", "tracking"},
    "validation": {"datasets", "media"},
}
# The only modules that may import a heavy library, by the start of their name.
DOORS = {
    "kagglehub": {"datasets.sources"},
    "great_expectations": {
        "monitoring.expectations",
        "validation.check_results",
        "validation.checks",
        "validation.custom_expectations",
        "validation.data_docs",
        "validation.suite",
        "validation.suite_store",
    },
    "cv2": {"media", "datasets.synthetic_faces", "inference.rendering", "parallel"},
    "tensorflow": {
        "model.autoencoder",
        "model.ema",
        "model.normalization",
        "preparation.shard_writer",
        "preparation.shards",
        "training",
    },
    "keras": {"training", "model", "evaluation.predictions"},
    "sklearn": {"validation.leak_probes", "evaluation", "model.calibration", "stats"},
    "mlflow": {"registry", "tracking"},
    "bentoml": {"serving", "packaging"},
    "openvino": {"openvino_graph"},
    "av": {"media"},
    "c2pa": {"inference.content_credentials"},
    "cryptography": {"model.bundle_signature"},
    "pi_heif": {"media.image"},
    "redis": {"serving.jobs_store", "serving.jobs_worker"},
    "rq": {"serving.jobs_store", "serving.jobs_worker"},
    "imagehash": {"validation.image_record"},
    "matplotlib": {"plotting", "evaluation", "monitoring.figures", "training.search_figure", "validation.leak_figure"},
    "optuna": {"training.tuning"},
    "ray": {"scanning.cluster", "scanning.unit_worker"},
    "boto3": {"scanning.storage"},
}
SERVED = tuple(f"deepfake_detector.serving.{name}" for name in ("service", "worker", "jobs_command"))
MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_packages_import_only_what_lies_below_them() -> None:
    for path in MODULES:
        package = module_name(path).split(".")[0]
        if package in ALLOWED:
            inner = {name.split(".")[1] for name in imported_names(path) if name.startswith("deepfake_detector.")}
            forbidden = (inner & set(ALLOWED)) - ALLOWED[package] - {package}
            assert not forbidden, f"{module_name(path)} must not import {forbidden}"


def test_every_package_is_in_the_table() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ALLOWED)


def test_no_two_packages_import_each_other() -> None:
    for package, below in ALLOWED.items():
        for other in below:
            assert package not in ALLOWED[other], f"{package} and {other}"


def test_modules_beside_the_packages_import_no_package() -> None:
    for path in PACKAGE.glob("*.py"):
        if path.stem in {"__init__", "packaging"}:  # packaging is a stage
            continue
        inner = {name.split(".")[1] for name in imported_names(path) if name.startswith("deepfake_detector.")}
        assert not inner & set(ALLOWED), path


def test_heavy_libraries_have_one_door() -> None:
    for path in MODULES:
        name = module_name(path)
        for library in {imported.split(".")[0] for imported in imported_names(path)} & set(DOORS):
            doors = DOORS[library]
            assert any(name == d or name.startswith(f"{d}.") for d in doors), f"{name} imports {library}: {doors}"


@pytest.mark.parametrize("package", ["inference", "scanning", "serving"])
def test_what_answers_loads_no_training_code(package: str) -> None:
    for path in PACKAGE.glob(f"{package}/*.py"):
        inner = {name for name in imported_names(path) if name.startswith("deepfake_detector.model.")}
        assert all(name.startswith("deepfake_detector.model.bundle") for name in inner), path


def test_the_served_process_reaches_no_heavy_library() -> None:
    reached = import_closure(*SERVED)
    libraries = {name.split(".")[0] for path in reached for name in imported_names(path)}
    assert not libraries & {"tensorflow", "keras", "mlflow", "great_expectations", "sklearn", "matplotlib", "pandas"}


def test_files_and_functions_are_short_enough_to_read() -> None:
    for path in MODULES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{path} has {lines} lines: split it by idea"
        assert ast.get_docstring(tree(path)), f"{path}: every module opens with one line: input -> output"
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                assert length <= 50, f"{path}: {node.name} has {length} lines"


def test_pipelines_hold_nothing_but_thin_files() -> None:
    for path in (ROOT / "pipelines").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 45, path
