"""The import closure of a module, its digest, and the cached work that depends on both."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

from deepfake_detector.code_digest import (
    PACKAGE,
    SOURCE_ROOT,
    code_digest,
    import_closure,
    imported_names,
    values_digest,
)


def write_package(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        file = root / "deepfake_detector" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


def closure(root: Path, *modules: str) -> list[str]:
    files = import_closure(*(f"deepfake_detector.{name}" for name in modules), root=root)
    return [file.relative_to(root / "deepfake_detector").as_posix() for file in files]


def test_a_closure_holds_direct_and_indirect_imports_of_every_form(tmp_path: Path) -> None:
    root = write_package(
        tmp_path,
        {
            "a.py": "import deepfake_detector.b\nfrom deepfake_detector.sub import c, NAME\nimport numpy\n",
            "b.py": "from deepfake_detector.sub.d import function\n",
            "sub/__init__.py": '"""A package."""\n',
            "sub/c.py": "",
            "sub/d.py": "from deepfake_detector import a\n",  # a circle
            "unused.py": "",
        },
    )
    assert closure(root, "a") == ["a.py", "b.py", "sub/c.py", "sub/d.py"]
    assert closure(root, "sub.c") == ["sub/c.py"]
    assert closure(root, "sub.c", "unused") == ["sub/c.py", "unused.py"]


def test_imports_inside_functions_count(tmp_path: Path) -> None:
    lazy = "def main():\n    with open('x'):\n        from deepfake_detector.b import name\n"
    assert closure(write_package(tmp_path, {"a.py": lazy, "b.py": ""}), "a") == ["a.py", "b.py"]


@pytest.mark.parametrize("test", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_imports_for_type_checkers_do_not_count(tmp_path: Path, test: str) -> None:
    text = f"if {test}:\n    from deepfake_detector import b\nelse:\n    from deepfake_detector import c\n"
    assert closure(write_package(tmp_path, {"a.py": text, "b.py": "", "c.py": ""}), "a") == ["a.py", "c.py"]


def test_a_closure_follows_an_edit(tmp_path: Path) -> None:
    root = write_package(tmp_path, {"a.py": "", "b.py": ""})
    assert closure(root, "a") == ["a.py"]
    write_package(root, {"a.py": "import deepfake_detector.b  # longer\n"})
    assert closure(root, "a") == ["a.py", "b.py"]


def test_an_unknown_module_and_a_relative_import_are_refused(tmp_path: Path) -> None:
    root = write_package(tmp_path, {"a.py": "x = 1\nfrom . import b\n", "b.py": ""})
    with pytest.raises(ModuleNotFoundError, match=r"deepfake_detector\.missing"):
        import_closure("deepfake_detector.b", "deepfake_detector.missing", root=root)
    with pytest.raises(NotImplementedError, match=r"a\.py:2"):
        import_closure("deepfake_detector.a", root=root)


def test_a_digest_depends_on_names_and_contents_of_the_closure(tmp_path: Path) -> None:
    files = {"a.py": "import deepfake_detector.b\n", "b.py": "x = 1\n", "c.py": "x = 1\n"}

    def digest(name: str, changed: dict[str, str], entry: str = "a") -> str:
        return code_digest(f"deepfake_detector.{entry}", root=write_package(tmp_path / name, files | changed))

    same = digest("same", {})
    assert len(same) == 32
    assert same == digest("again", {}) == digest("unused", {"c.py": "x = 2\n"})
    assert len({same, digest("b", {"b.py": "x = 2\n"}), digest("c", {"a.py": "import deepfake_detector.c\n"})}) == 3
    assert digest("b", {}, "b") != digest("c", {}, "c")  # equal text under another name


def test_a_digest_depends_on_the_versions_of_the_given_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    name, version = "deepfake_detector.media.image", metadata.version
    pillow, numpy = code_digest(name, libraries=["pillow"]), code_digest(name, libraries=["numpy"])
    assert pillow != numpy
    monkeypatch.setattr(metadata, "version", lambda library: "0" if library == "pillow" else version(library))
    assert code_digest(name, libraries=["pillow"]) != pillow
    assert code_digest(name, libraries=["numpy"]) == numpy


def test_a_digest_of_values_depends_on_each_and_on_their_order() -> None:
    same = values_digest(["a", 1, (2.5, None)])
    assert same == values_digest(("a", 1, (2.5, None)))
    others: list[list[object]] = [
        ["a", 1],
        ["a", "1", (2.5, None)],
        [1, "a", (2.5, None)],
        ["a", 1, (2.5, 0)],
        ["a1", (2.5, None)],
    ]
    assert len({same, *(values_digest(values) for values in others)}) == len(others) + 1


def cached_work(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Modules and libraries on which cached work depends."""
    from deepfake_detector.preparation import partial_shards
    from deepfake_detector.training import plan
    from deepfake_detector.validation import manifest

    return {
        "manifest": (manifest.CACHE_MODULES, manifest.CACHE_LIBRARIES),
        "shards": (partial_shards.RESUME_MODULES, partial_shards.RESUME_LIBRARIES),
        "training": (plan.RESUME_MODULES, plan.RESUME_LIBRARIES),
    }[name]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of this package's source files."""
    ignore = shutil.ignore_patterns("__pycache__", "page")
    shutil.copytree(SOURCE_ROOT / "deepfake_detector", tmp_path / "deepfake_detector", ignore=ignore)
    return tmp_path


FACES = ["media/face_detector.py", "media/image.py", "media/orientation.py", "openvino_graph.py", "datasets/archive.py"]
RECORDS = [*FACES, "media/image_stats.py", "validation/image_record.py"]
SHAPED_BY = {
    "manifest": [*RECORDS, "validation/manifest.py"],
    "shards": [
        *RECORDS, "media/face_alignment.py",
        *(f"preparation/{name}.py" for name in ("crops", "crop_requests", "shard_writer", "shards", "partial_shards")),
    ],
    "training": [
        "media/augmentation.py", "media/corruptions.py", "media/self_blending.py",
        *(f"model/{name}.py" for name in ("backbone", "branches", "ema", "losses", "network", "normalization")),
        "model/unfolding.py",
        "preparation/shards.py",
        *(f"training/{name}.py" for name in ("balanced_batches", "balanced_sampling", "batches", "fit", "plan")),
        "training/starting_weights.py",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("work", "file"), [(work, file) for work, files in SHAPED_BY.items() for file in files])
def test_an_edit_of_code_that_shapes_cached_work_changes_its_key(work: str, file: str, sources: Path) -> None:
    """Once an edit of the face detector left the manifest's key as it was, and the cached faces with it."""
    modules, _ = cached_work(work)
    before = code_digest(*modules, libraries=(), root=sources)
    with (sources / "deepfake_detector" / file).open("a", encoding="utf-8") as text:
        text.write("# edited\n")
    assert code_digest(*modules, libraries=(), root=sources) != before


@pytest.mark.parametrize("work", SHAPED_BY)
def test_an_edit_of_other_code_does_not(work: str, sources: Path) -> None:
    modules, _ = cached_work(work)
    before = code_digest(*modules, libraries=(), root=sources)
    for file in ("serving/service.py", "cli/app.py", "registry/gate.py"):
        (sources / "deepfake_detector" / file).write_text("edited = True\n", encoding="utf-8")
    assert code_digest(*modules, libraries=(), root=sources) == before


DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless", "pi_heif": "pi-heif"}  # where names differ
# They hold tables, settings and runs, or show progress; the manifest's hashes do not shape a crop, nor do signatures of
# bundles shape weights.
NO_INFLUENCE = {"mlflow", "onnx", "pandas", "pydantic", "ruamel", "sqlalchemy", "tf2onnx", "tqdm", "yaml"}
NO_INFLUENCE_ON = {"manifest": set[str](), "shards": {"imagehash"}, "training": {"cryptography"}}


@pytest.mark.parametrize("work", SHAPED_BY)
def test_the_key_names_every_library_that_shapes_cached_work(work: str) -> None:
    modules, libraries = cached_work(work)
    names = {name.split(".")[0] for file in import_closure(*modules) for name in imported_names(file)}
    third_party = names - {PACKAGE} - set(sys.stdlib_module_names) - NO_INFLUENCE - NO_INFLUENCE_ON[work]
    missing = {DISTRIBUTIONS.get(name, name) for name in third_party} - set(libraries)
    assert not missing, f"their versions must take part in the key of {work}"
