"""Prediction logs + the bundles that answered -> a drift report: what changed since a model was evaluated.

Verdicts of a model: `quiet`; `prior shift` (another share of fakes explains all differences); `covariate shift` (other
pictures than it was evaluated on); `too few pictures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from deepfake_detector.errors import BadInput
from deepfake_detector.model.bundle import Bundle, read_profile
from deepfake_detector.model.bundle_contract import WITHOUT_PROFILE
from deepfake_detector.model.bundle_profile import VERDICTS
from deepfake_detector.monitoring.expectations import NAMES, Checked, check_distances
from deepfake_detector.monitoring.logged_answers import LoggedAnswers, read_answers
from deepfake_detector.monitoring.measurements import ALL_DAYS, ALPHA, MIN_PICTURES, Measurements, measure
from deepfake_detector.monitoring.reference import Reference, period_reference, profile_reference, trained_groups
from deepfake_detector.stats import Estimate, estimate_proportion
from deepfake_detector.validation.results import CheckResult

Verdict = Literal["quiet", "prior shift", "covariate shift", "too few pictures"]
_GRAVITY: tuple[Verdict, ...] = ("too few pictures", "quiet", "prior shift", "covariate shift")
PERIOD = "the baseline"
SHIFTS: Mapping[Verdict, str] = {
    "quiet": "No difference from {reference} beyond chance and beyond the limits.",
    "prior shift": "Another share of fakes than in {reference} explains all differences: the pictures of each class "
    "are like those of the reference.",
    "covariate shift": "The pictures differ from {reference}, and no share of fakes explains it: the measured "
    "error rates may not hold for them.",
    "too few pictures": "Fewer than {least} pictures: nothing can be said.",
}


@dataclass(frozen=True, eq=False)
class ModelDrift:
    """What is known about the stream that one model answered.

    Attributes:
        sha256: digest of the bundle.
        answers: rows of `LoggedAnswers.table` about pictures.
        videos: number of answers about videos; they are counted and not compared, the profile is one of pictures.
        reference: what it was compared with.
        measurements: distances and shares of fakes.
        checks: as Great Expectations decided.
        drifted_rows: rows of the table of distances that failed; `unexplained_rows`: those that failed also against the
            reference weighted to the stream's share of fakes.
        verdict: see above.
    """

    sha256: str
    answers: pd.DataFrame
    videos: int
    reference: Reference
    measurements: Measurements
    checks: tuple[CheckResult, ...]
    drifted_rows: frozenset[int]
    unexplained_rows: frozenset[int]
    verdict: Verdict

    @property
    def days(self) -> tuple[str, ...]:
        """The days with answers about pictures, YYYY-MM-DD, in order."""
        return tuple(sorted(self.answers["day"].unique()))

    @property
    def fake_share(self) -> Estimate | None:
        """Estimated share of fakes over all days."""
        return self.measurements.shares.get(ALL_DAYS)

    @property
    def summary(self) -> tuple[str, ...]:
        """The result in plain sentences."""
        first = SHIFTS[self.verdict].format(reference=self.reference.name, least=MIN_PICTURES)
        rows = self.measurements.table.loc[sorted(self.drifted_rows)]
        sentences = [first]
        for quantity, found in rows.groupby("quantity", sort=False):
            whole = found[found["window"] == ALL_DAYS]
            row = whole.iloc[0] if len(whole) else found.sort_values("distance").iloc[-1]
            sentences.append(
                f"{NAMES[quantity]} moved: distance {row['distance']:.2f} [{row['distance_low']:.2f}, "  # type: ignore[index]
                f"{row['distance_high']:.2f}] ({row['window']}), limit {row['limit']:.2f}."
            )
        if self.fake_share is not None:
            own = self.reference.fake_share
            among = "" if own is None else f", {own:.0%} in the reference"
            doubt = (
                " It assumes that nothing else changed, which is refuted." if self.verdict == "covariate shift" else ""
            )
            sentences.append(f"Estimated share of fakes: {_percent(self.fake_share)}{among}.{doubt}")
        return tuple(sentences)

    def daily_shares(self) -> pd.DataFrame:
        """A row per day: day, pictures, and share, low and high of each verdict and of `unscored`."""
        rows = []
        for day, part in self.answers.groupby("day", sort=True):
            row: dict[str, Any] = {"day": day, "pictures": len(part)}
            counts = {verdict: int((part["verdict"] == verdict).sum()) for verdict in VERDICTS}
            for name, count in (counts | {"unscored": int(part["p_fake"].isna().sum())}).items():
                share = estimate_proportion(count, len(part))
                row |= {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}
            rows.append(row)
        return pd.DataFrame(rows)

    def as_dict(self) -> dict[str, Any]:
        """Its part of the JSON report."""
        share = self.fake_share
        table = self.measurements.table
        states = {
            "drifted": table.index.isin(self.drifted_rows),
            "unexplained": table.index.isin(self.unexplained_rows),
        }
        return {
            "sha256": self.sha256,
            "verdict": self.verdict,
            "summary": list(self.summary),
            "pictures": len(self.answers),
            "videos": self.videos,
            "first_day": self.days[0] if self.days else None,
            "last_day": self.days[-1] if self.days else None,
            "reference": self.reference.name,
            "reference_fake_share": self.reference.fake_share,
            "share_of_fakes": None if share is None else vars(share),
            "daily": _records(self.daily_shares()),
            "daily_share_of_fakes": {
                day: vars(each) for day, each in self.measurements.shares.items() if day != ALL_DAYS
            },
            "measurements": _records(table.assign(**states)),
        }


@dataclass(frozen=True, eq=False)
class DriftReport:
    """What prediction logs say about the models that wrote them.

    Attributes:
        logs: as they were read.
        models: those with a profile, in the order of their first answer.
        without_profile: digest -> why nothing can be said about it.
    """

    logs: LoggedAnswers
    models: tuple[ModelDrift, ...]
    without_profile: Mapping[str, str]

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict of its models."""
        return max((model.verdict for model in self.models), key=_GRAVITY.index)

    @property
    def drifted(self) -> bool:
        """Whether the stream of a model differs from its reference."""
        return self.verdict in ("prior shift", "covariate shift")

    @property
    def summary(self) -> tuple[str, ...]:
        """The result in plain sentences, each with the beginning of the model's digest."""
        sentences = [f"{model.sha256[:12]}: {sentence}" for model in self.models for sentence in model.summary]
        return (*sentences, *(f"{digest[:12]}: {reason}" for digest, reason in self.without_profile.items()))

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "verdict": self.verdict,
            "drifted": self.drifted,
            "summary": list(self.summary),
            "models": [model.as_dict() for model in self.models],
            "without_profile": dict(self.without_profile),
            "logs": self.logs.summary(),
            "alpha": ALPHA,
            "min_pictures": MIN_PICTURES,
        }


def measure_drift(logs: Sequence[Path], bundles: Sequence[Bundle], baseline: Sequence[Path] = ()) -> DriftReport:
    """Compare prediction logs with the profiles of the models that wrote them, or with an earlier period.

    Args:
        logs: files or folders, see `read_answers`.
        bundles: models that may have answered; the digest of a line finds its own.
        baseline: logs of a period that is taken as normal, by the same model; none: the profile is the reference.

    Raises:
        BadInput: see `read_answers`; no model in the logs has a profile; none has enough pictures.
        BundleCorrupt: see `read_profile`.
        CheckCrashed: see `check_distances`.
    """
    answers = read_answers(logs)
    period = read_answers(baseline).table if baseline else None
    found = {bundle.sha256: bundle for bundle in bundles}
    models, without = list[ModelDrift](), dict[str, str]()
    for digest, rows in answers.table.groupby("model_sha256", sort=False):
        sha256 = str(digest)
        if (reason := _missing_profile(found.get(sha256))) is not None:
            without[sha256] = reason
            continue
        models.append(model_drift(sha256, rows, model_reference(found[sha256], period)))
    if not models:
        raise BadInput(
            "no profile: " + "; ".join(f"{digest[:12]}: {reason}" for digest, reason in without.items()),
            "name the bundle that answered with --model; `python -m pipelines.profile FOLDER` adds a profile to one",
        )
    report = DriftReport(answers, tuple(models), without)
    if report.verdict == "too few pictures":
        counts = ", ".join(f"{len(model.answers)} by {model.sha256[:12]}" for model in models)
        raise BadInput(f"too few pictures: {counts}", f"at least {MIN_PICTURES} are needed: name more logs")
    return report


def model_reference(bundle: Bundle, period: pd.DataFrame | None) -> Reference:
    """What the answers of a model are compared with.

    Args:
        bundle: with a profile.
        period: rows of `LoggedAnswers.table` of a period that is taken as normal; None: the profile itself.

    Raises:
        BadInput: the period has too few pictures by this model.
    """
    profile = trained_groups(read_profile(bundle), bundle.contract.data_sha256)
    if period is None:
        return profile_reference(profile)
    rows = period[(period["model_sha256"] == bundle.sha256) & (period["kind"] == "image")]
    if (scored := int(rows["p_fake"].notna().sum())) < MIN_PICTURES:
        raise BadInput(
            f"the baseline has {scored} scored pictures by the model {bundle.sha256[:12]}",
            f"at least {MIN_PICTURES} are needed: name more logs with --baseline, or leave it out",
        )
    return period_reference(rows, profile, PERIOD)


def model_drift(sha256: str, rows: pd.DataFrame, reference: Reference) -> ModelDrift:
    """Measure, check and decide.

    Args:
        sha256: of the model.
        rows: of `LoggedAnswers.table`, its answers.
        reference: what they are compared with.
    """
    pictures = rows[rows["kind"] == "image"]
    measurements = measure(pictures, reference)
    checked = check_distances(measurements.table)
    return ModelDrift(
        sha256=sha256,
        answers=pictures,
        videos=len(rows) - len(pictures),
        reference=reference,
        measurements=measurements,
        checks=checked.checks,
        drifted_rows=checked.failed,
        unexplained_rows=checked.failed & checked.failed_weighted,
        verdict=decide_verdict(measurements, checked, reference.fake_share),
    )


def decide_verdict(measurements: Measurements, checked: Checked, reference_share: float | None) -> Verdict:
    """Decide which kind of shift the failed rows are.

    Prior shift needs more than rows that the weighted reference explains: an estimated share of fakes, in one of their
    windows, whose interval leaves out the reference's own.
    """
    table = measurements.table
    if not table["p_value"].notna().any():
        return "too few pictures"
    if not checked.failed:
        return "quiet"
    windows = set(table.loc[sorted(checked.failed), "window"])
    shares = [measurements.shares[window] for window in windows if window in measurements.shares]
    moved = reference_share is not None and any(not each.low <= reference_share <= each.high for each in shares)
    return "prior shift" if moved and not checked.failed & checked.failed_weighted else "covariate shift"


def _missing_profile(bundle: Bundle | None) -> str | None:
    if bundle is None:
        return "no profile: no bundle with this digest was found"
    if bundle.contract.format_version == WITHOUT_PROFILE:
        return f"no profile: its bundle has format {WITHOUT_PROFILE}"
    return None


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.0%} [{estimate.low:.0%}, {estimate.high:.0%}]"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """JSON objects of rows; None for NaN."""
    return [
        {str(name): _plain(value) for name, value in row.items()} for row in table.to_dict(orient="records")
    ]  # fmt: skip


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value
