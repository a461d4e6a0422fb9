"""Repository root -> paths of all artifacts, and environment variables that keep the tools inside it.

Stores that outlive one run (MLflow, BentoML, downloads) lie in the store root, so that experiments in DVC's temporary
workspaces and in linked worktrees share the runs and versions of the checkout that they belong to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

STORE_ROOT_VARIABLE = "DEEPFAKE_STORE_ROOT"
DVC_WORKSPACES = "/.dvc/tmp/exps/"  # `dvc exp run --temp` and queued experiments run in copies below this folder


def primary_checkout(root: Path) -> Path:
    """The checkout that owns the stores of a copy.

    Args:
        root: a checkout, absolute.

    Returns:
        For a temporary workspace of DVC the checkout that started it, for a linked worktree of git the main worktree,
        else `root` itself. A worktree of a bare repository has no main worktree, so it owns its stores.
    """
    checkout = Path(root.as_posix().partition(DVC_WORKSPACES)[0])
    pointer = checkout / ".git"
    if not pointer.is_file():
        return checkout
    git_folder = checkout / pointer.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    common = git_folder / "commondir"
    if not common.is_file():  # a submodule
        return checkout
    shared = (git_folder / common.read_text(encoding="utf-8").strip()).resolve()
    return shared.parent if shared.name == ".git" else checkout


@dataclass(frozen=True)
class Workspace:
    """The folders of one checkout. dvc.yaml names the same paths; a structure test compares them."""

    root: Path = field(default_factory=Path.cwd)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.resolve())

    @property
    def store_root(self) -> Path:
        """The folder of mlflow.db, mlartifacts/ and .bentoml/: DEEPFAKE_STORE_ROOT, else the primary checkout."""
        named = os.environ.get(STORE_ROOT_VARIABLE)
        return Path(named).resolve() if named else primary_checkout(self.root)

    @property
    def params(self) -> Path:
        """The settings file."""
        return self.root / "params.yaml"

    @property
    def raw(self) -> Path:
        """The verified zip of each source, named after it, or a folder of its zips."""
        return self.root / "data" / "raw"

    @property
    def manifest(self) -> Path:
        """One row per picture of all sources."""
        return self.root / "data" / "manifest.parquet"

    @property
    def shards(self) -> Path:
        """TFRecord files of aligned crops."""
        return self.root / "data" / "shards"

    @property
    def trained(self) -> Path:
        """The trained Keras model."""
        return self.root / "models" / "trained"

    @property
    def bundle(self) -> Path:
        """The candidate's bundle: see model/bundle.py."""
        return self.root / "models" / "bundle"

    @property
    def champion(self) -> Path:
        """The registry's champion, exported: the bundle that is packaged and served."""
        return self.root / "models" / "champion"

    @property
    def checkpoints(self) -> Path:
        """Outside DVC's outputs: DVC deletes outputs before a stage runs, and a resumed training needs these.

        Not in the store root: two queued experiments may run the same training at the same time.
        """
        return self.root / ".cache" / "checkpoints"

    @property
    def tuning(self) -> Path:
        """Trials of `tune`, which is no stage of DVC."""
        return self.root / ".cache" / "tune"

    @property
    def ablation(self) -> Path:
        """Trainings of `ablate`; likewise."""
        return self.root / ".cache" / "ablate"

    @property
    def generalization(self) -> Path:
        """Scores of the trainings of `generalize`; likewise."""
        return self.root / ".cache" / "generalize"

    @property
    def partial_manifest(self) -> Path:
        """Cached chunks of the manifest; outside DVC's outputs for the same reason."""
        return self.root / ".cache" / "manifest"

    @property
    def partial_shards(self) -> Path:
        """Shards of an interrupted `prepare`; likewise."""
        return self.root / ".cache" / "prepare"

    @property
    def pretrained(self) -> Path:
        """A sealed bundle that ships with the code."""
        return self.root / "pretrained"

    @property
    def data_docs(self) -> Path:
        """Great Expectations' Data Docs."""
        return self.root / "reports" / "data_docs"

    @property
    def registered(self) -> Path:
        """Digest of the bundle that `register` handled: what DVC orders `package` after."""
        return self.root / "reports" / "registered.json"

    def report(self, stage: str) -> Path:
        """The one JSON report of a stage, for example reports/train.json."""
        return self.root / "reports" / f"{stage}.json"

    def figures(self, stage: str) -> Path:
        """The folder of a stage's figures and plot tables, for example reports/evaluate/."""
        return self.root / "reports" / stage

    def tool_environment(self) -> dict[str, str]:
        """Environment variables that switch telemetry off and keep stores and caches inside the store root."""
        stores = self.store_root
        cache = stores / ".cache"
        # Without a GPU, TensorFlow logs an error for each library that it misses; real errors come as exceptions.
        gpu = any(Path(device).exists() for device in ("/dev/nvidia0", "/dev/dxg"))
        return {
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(stores / ".bentoml"),
            "DVC_NO_ANALYTICS": "1",
            "GX_ANALYTICS_ENABLED": "false",
            "KAGGLEHUB_CACHE": str(cache / "kagglehub"),
            "KERAS_HOME": str(cache / "keras"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_TRACKING_URI": f"sqlite:///{stores / 'mlflow.db'}",
            "MPLBACKEND": "Agg",
            "MPLCONFIGDIR": str(cache / "matplotlib"),
            "TF_CPP_MIN_LOG_LEVEL": "2" if gpu else "3",
        }

    def enter(self) -> Workspace:
        """Set the tool environment for this process, leaving alone whatever the caller has set already."""
        for name, value in self.tool_environment().items():
            os.environ.setdefault(name, value)
        return self
