"""A recipe (YAML: settings that differ from params.yaml) -> a `dvc exp run` command, and the hours it will take.

A recipe is how one gets from the drawn sample to a data set: sources, preparation and training together. DVC's own
composition (Hydra) would rewrite params.yaml without its comments.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from deepfake_detector.config import Settings, read_settings
from deepfake_detector.errors import DataRejected, SettingsError
from deepfake_detector.yaml_file import read_yaml

TRAINING, VALIDATION, PREPARATION = "training step, input included", "validate", "prepare"  # rows of benchmarks.json
MEASURED_NETWORK = "residual"  # in that row of training
LOGIN = (
    "log in to Kaggle first: create a token at https://www.kaggle.com/settings (API), and put kaggle.json into "
    "~/.kaggle/ or set KAGGLE_USERNAME and KAGGLE_KEY"
)


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pictures(_FrozenModel):
    """Size of the data set, for the expected hours."""

    train: Annotated[int, Field(ge=1)]
    held_out: Annotated[int, Field(ge=0)]  # validation and test


class Recipe(_FrozenModel):
    """Settings for one data set.

    Attributes:
        description: what it trains on, one clause.
        needs_login: whether the data are downloaded with an account at Kaggle.
        pictures: of the data set.
        crops_per_second: measured speed of training on two cores; 0: that of `residual` in reports/benchmarks.json.
        settings: sections of params.yaml with the keys that differ.
    """

    description: str
    needs_login: bool
    pictures: Pictures
    crops_per_second: Annotated[float, Field(ge=0)]
    settings: dict[str, dict[str, Any]]


def read_recipe(path: Path, params: Path) -> tuple[Recipe, Settings]:
    """Read a recipe, and the settings that params.yaml and the recipe give together.

    Raises:
        SettingsError: the recipe is missing or no YAML, or one of its keys is unknown or out of range.
    """
    try:
        content = read_yaml(path)
        recipe = Recipe.model_validate(content)
    except FileNotFoundError as error:
        raise SettingsError(
            f"there is no recipe {path}", "recipes/ holds some; docs/data.md says how to write one"
        ) from error
    except (YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise SettingsError(f"{path} is no recipe: {error}", "recipes/kaggle.yaml shows the form") from error
    merged = read_yaml(params)
    for section, values in recipe.settings.items():
        merged[section] = merged.get(section, {}) | values
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        with file.open("w", encoding="utf-8") as stream:
            YAML().dump(merged, stream)
        return recipe, read_settings(file)


def with_own_pictures(
    recipe: Recipe,
    settings: Settings,
    location: Path,
    fake_kind: str,
    sha256: str,
    counts: Mapping[str, Mapping[str, int]],
) -> Recipe:
    """A recipe whose first source is a zip or folder of the user's, and the counts of its pictures.

    Args:
        recipe: with a source of kind `labelled`.
        settings: with the recipe's.
        location: of the pictures.
        fake_kind: of their fakes.
        sha256: of the zip that they are packed into: DVC reads them again when it has changed.
        counts: of pictures, `counts[split][label]`.

    Raises:
        DataRejected: a split has too few pictures of a class.
    """
    total = {label: sum(of_split[label] for of_split in counts.values()) for label in ("real", "fake")}
    minimum = settings.validate.min_images_per_class
    if min(count for of_split in counts.values() for count in of_split.values()) < minimum:
        found = ", ".join(f"{split} {of['real']} + {of['fake']}" for split, of in counts.items())
        raise DataRejected(
            f"{location} has {total['real']} real and {total['fake']} fake pictures (real + fake: {found}); "
            f"each split needs {minimum} of each class",
            f"{4 * minimum} pictures of each class are enough where no split is given and no group holds more than a "
            "tenth of them; or lower validate.min_images_per_class in the recipe",
        )
    first, *others = recipe.settings["download"]["sources"]
    source = first | {"location": str(location.resolve()), "sha256": sha256, "fake_kind": fake_kind}
    download = recipe.settings["download"] | {"sources": [source, *others]}
    held_out = sum(total.values()) - sum(counts["train"].values())
    pictures = Pictures(train=sum(counts["train"].values()), held_out=held_out)
    changed = {"pictures": pictures, "settings": recipe.settings | {"download": download}}
    return recipe.model_copy(update=changed)


def experiment_command(recipe: Recipe, name: str) -> list[str]:
    """`dvc exp run` with every setting of the recipe; `name` is that of the experiment."""
    overrides = [
        f"{section}.{key}={_value(value)}"
        for section, values in recipe.settings.items()
        for key, value in values.items()
    ]
    return ["dvc", "exp", "run", "--name", name, *(word for setting in overrides for word in ("-S", setting))]


def expected_hours(recipe: Recipe, settings: Settings, benchmarks: Mapping[str, Any]) -> dict[str, float | None]:
    """Hours on two cores, from measured rates: validate, prepare, train; the download and the evaluation come on top.

    Args:
        recipe: its pictures, and its speed of training if it names one.
        settings: with the recipe's.
        benchmarks: content of reports/benchmarks.json.

    Returns:
        By stage; None for the training of a network whose speed neither the recipe nor the benchmarks name.
    """
    rates = {row["name"]: float(row["ours_figure"]) for row in benchmarks["rows"]}
    pictures, train = recipe.pictures.train + recipe.pictures.held_out, settings.train
    crops = train.epochs * (train.steps_per_epoch * train.batch_size or recipe.pictures.train)
    rate = recipe.crops_per_second or (rates[TRAINING] if train.network == MEASURED_NETWORK else None)
    return {
        "validate": pictures / rates[VALIDATION] / 3600,
        "prepare": pictures / rates[PREPARATION] / 3600,
        "train": None if rate is None else crops / rate / 3600,
    }


def describe_plan(recipe: Recipe, settings: Settings, benchmarks: Mapping[str, Any]) -> str:
    """What will be trained and for how long, what is needed before, and how to get back to the committed settings."""
    hours, train = expected_hours(recipe, settings, benchmarks), settings.train
    known = [spent for spent in hours.values() if spent is not None]
    unit, factor = ("hours", 1) if sum(known) >= 1 else ("minutes", 60)
    parts = ", ".join(
        f"{stage} {'not measured' if spent is None else f'{factor * spent:.1f}'}" for stage, spent in hours.items()
    )
    more = (
        ""
        if len(known) == len(hours)
        else f"more than that, since `crops_per_second` of `{train.network}` is not set; "
    )
    lines = [
        f"{recipe.description}: {recipe.pictures.train:,} training pictures, {train.epochs} epochs, `{train.network}`",
        f"expected on two cores: {factor * sum(known):.1f} {unit} ({parts}), {more}download and evaluation come on top",
        f"computed from rates measured on {benchmarks['machine']}; on a GPU none were measured",
        "an interrupted training resumes with the same command; `make mlflow` shows it live",
        "back to the committed settings: git restore params.yaml dvc.lock reports/metrics.json && dvc checkout",
    ]
    return "\n".join([*lines, *([LOGIN] if recipe.needs_login else [])])


def _value(value: Any) -> str:
    """A value in the grammar of `dvc exp run -S`, which is Hydra's: JSON, but with bare keys."""
    return value if isinstance(value, str) else _nested(value)


def _nested(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}: {_nested(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_nested, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
