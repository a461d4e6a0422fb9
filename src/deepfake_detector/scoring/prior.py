"""Calibrated probability of a fake and how common fakes are where it was asked -> the probability there."""

from __future__ import annotations

import math

from deepfake_detector.errors import BadInput
from deepfake_detector.scoring.verdict import Posterior

CALIBRATED_SHARE = 0.5  # of fakes among the pictures that our models are calibrated on


def posterior(p_fake: float, prior: float, calibrated_share: float = CALIBRATED_SHARE) -> float:
    """Move a probability from the world it was calibrated in to another one, by Bayes' rule.

    A calibrated probability says how many of the pictures that score so are fakes *where the classes are mixed as they
    were in calibration*. Where fakes are rarer, so they are among the pictures with this score: with a prior of 0.0005
    a detector that is 99 % sure is right in 4.7 % of its alarms. Source: Saerens et al. 2002, "Adjusting the outputs of
    a classifier to new a priori probabilities".

    Args:
        p_fake: 0 to 1, calibrated.
        prior: 0 to 1, share of fakes among the pictures that are asked about.
        calibrated_share: above 0 and under 1, share of fakes among the pictures of the calibration.

    Returns:
        0 to 1; exactly 0 or 1 where `prior` is.

    Raises:
        ValueError: a share outside its range.
    """
    for name, value in (("p_fake", p_fake), ("prior", prior), ("calibrated_share", calibrated_share)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}, it must lie between 0 and 1")
    if calibrated_share in (0, 1):
        raise ValueError(f"calibrated_share is {calibrated_share}: nothing was calibrated on one class alone")
    if prior in (0, 1):
        return float(prior)
    if p_fake in (0, 1):
        return float(p_fake)
    log_odds = _logit(p_fake) + _logit(prior) - _logit(calibrated_share)
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0


def posterior_at(p_fake: float | None, prior: float | None) -> Posterior | None:
    """The part of an answer that a prior adds; None without a prior or a score.

    Raises:
        BadInput: the prior is no share between 0 and 1.
    """
    if prior is None:
        return None
    if not 0 < prior < 1:
        raise BadInput(
            f"the prior is {prior}", "give the share of fakes where the file comes from, above 0 and under 1"
        )
    return None if p_fake is None else Posterior(prior=prior, p_fake=posterior(p_fake, prior))


def _logit(p: float) -> float:
    return math.log(p) - math.log1p(-p)
