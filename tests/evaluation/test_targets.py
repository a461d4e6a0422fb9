"""Goals are met or missed by the figures, source by source."""

from dataclasses import replace

from deepfake_detector.evaluation.results import judge_goals
from deepfake_detector.evaluation.robustness import Mean
from deepfake_detector.stats import Estimate


def named(goals: list) -> dict[str, bool]:
    return {goal.name: goal.met for goal in goals}


def test_generated_faces_and_swaps_have_goals_of_their_own(case) -> None:
    kinds = {"swaps": "swap", "faces": "synthetic"}
    met = named(judge_goals(case.found.slices, case.found.grid, kinds, 1234))
    assert {name for name in met if name.startswith("swaps")} == {"swaps: AUC"}
    assert len([name for name in met if name.startswith("faces")]) == 4
    assert met["parameters"]
    assert not met["faces: mean accuracy over the robustness grid"]


def test_a_goal_is_met_at_its_very_limit(case) -> None:
    mean = Mean(40, Estimate(0.88, 0.8, 0.9), Estimate(0.8, 0.7, 0.9), 1.0)
    grid = replace(case.found.grid, means={"all": mean, "faces": mean, "swaps": mean})
    goals = judge_goals(case.found.slices, grid, {}, 1_500_000)
    assert named(goals)["faces: mean accuracy over the robustness grid"]
    assert not named(goals)["parameters"]
    told = next(goal for goal in goals if goal.name == "parameters")
    assert (told.wanted, told.found) == ("under 1,500,000", "1,500,000")


def test_false_alarms_are_meant_over_the_sources(case) -> None:
    sources = [each for each in case.found.slices if each.facet == "source"]
    mean = sum(each.false_alarms.value for each in sources) / len(sources)
    goal = next(g for g in case.found.goals if "false alarms" in g.name)
    assert goal.found == f"{mean:.1%}"
    assert goal.met == (mean <= 0.05)
