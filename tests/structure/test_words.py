"""One language, that of the field: words.txt lists what this project once said instead, and none of it is left."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("words.txt")
# Sealed with the shipped model, or a record of what was said and decided then.
LEFT_OUT = (
    "pretrained/",
    "requirements.lock",
    "dvc.lock",
    "CHANGELOG.md",
    "docs/upgrading.md",
    "tests/structure/words.txt",
)
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".js", ".html", ".css", ".j2", ".svg", ".json", ".txt", ".cfg", ""}


def listed(kind: str) -> list[str]:
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix(f"{kind}:").split("#")[0].strip() for line in lines if line.startswith(f"{kind}:")]


def tracked() -> list[Path]:
    found = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        pytest.skip("no git checkout")
    names = [name for name in found.stdout.splitlines() if not name.startswith(LEFT_OUT)]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def words_of(name: str) -> set[str]:
    """Parts of an identifier or file name: `WorkerPool_size` -> worker, pool, size."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def defined_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def keys_of(content: object) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield str(key)
            yield from keys_of(value)
    elif isinstance(content, list):
        for value in content:
            yield from keys_of(value)


def test_no_identifier_or_file_has_a_listed_word() -> None:
    words, found = set(listed("name")), list[str]()
    for path in tracked():
        name = path.relative_to(ROOT)
        names = {path.stem}
        if path.suffix == ".py":
            names |= set(defined_names(ast.parse(path.read_text(encoding="utf-8"))))
        elif path.name == "params.yaml":
            names |= set(keys_of(yaml.safe_load(path.read_text(encoding="utf-8"))))
        found += [f"{name}: {each}" for each in sorted(names) if words_of(each) & words]
    assert not found, "\n".join(["say what the field says (docs/glossary.md):", *found])


def test_no_text_has_a_listed_phrase() -> None:
    pattern = re.compile(r"(?<![\w-])(" + "|".join(map(re.escape, listed("text"))) + r")(?![\w-])", re.IGNORECASE)
    found = list[str]()
    for path in tracked():
        if path.suffix in TEXT:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                found += [f"{path.relative_to(ROOT)}:{number}: {hit}" for hit in pattern.findall(line)]
    assert not found, "\n".join(["say what the field says (docs/glossary.md):", *found])
