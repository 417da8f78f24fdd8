"""The A/B read-out: finds a difference that is there, and with many looks seldom one that is not."""

import numpy as np

from mainspring.evaluate import sequential
from mainspring.monitor.arms import Arm, ArmDifference, Estimate, compare_arms


def arm(version: int, route: str, outcomes: np.ndarray, losses: np.ndarray | None = None) -> Arm:
    def estimate(values: np.ndarray) -> Estimate:
        state = sequential.update(sequential.start(), values)
        bounds = sequential.lower(state, 0.05 / 4), sequential.upper(state, 0.05 / 4)
        return Estimate(sequential.mean(state) if state.n else None, *bounds)

    losses = outcomes if losses is None else losses
    return Arm(version, route, 50.0, len(outcomes), len(outcomes), estimate(losses), estimate(outcomes))


def said(arms: list[Arm]) -> dict[str, str]:
    return {each.measure: each.verdict for each in compare_arms(arms)}


def test_an_outcome_that_differs_is_found() -> None:
    rng = np.random.default_rng(0)
    champion, canary = (rng.random(4000) < rate for rate in (0.20, 0.30))
    (loss, outcome) = compare_arms([arm(1, "champion", champion.astype(float)), arm(2, "canary", canary.astype(float))])
    assert (loss.measure, outcome.measure, outcome.verdict) == ("loss", "outcome", "higher")
    assert outcome.low < 0.1 < outcome.high
    assert str(outcome).startswith("outcome higher: +0.09")


def test_looked_at_a_hundred_times_equal_arms_are_seldom_said_to_differ() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(60):
        streams = (rng.random((2, 2000)) < 0.3).astype(float)
        wrong += any(
            said([arm(1, "champion", streams[0, :n]), arm(2, "canary", streams[1, :n])])["outcome"] != "undecided"
            for n in range(20, 2001, 20)
        )
    assert wrong <= 3  # 5 % of 60; the union bound makes it rarer still


def test_a_shadow_has_a_loss_and_no_outcome_of_its_own() -> None:
    outcomes = np.ones(2000)
    found = compare_arms([arm(1, "champion", outcomes, np.zeros(2000)), arm(2, "shadow", outcomes, np.full(2000, 0.5))])
    assert [(each.version, each.measure, each.verdict) for each in found] == [(2, "loss", "higher")]


def test_an_arm_without_labels_says_nothing() -> None:
    nothing = np.zeros(0)
    assert compare_arms([arm(1, "champion", np.ones(5)), arm(2, "canary", nothing)]) == []
    assert str(Estimate(None, 0.0, 1.0)) == ""
    assert "not proven to differ" in str(ArmDifference(2, "loss", 0.0, -1.0, 1.0, "undecided"))
