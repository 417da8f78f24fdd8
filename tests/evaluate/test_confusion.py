"""The confusion matrix and the choice of a threshold, against scikit-learn and brute force."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from mainspring.errors import Invalid
from mainspring.evaluate.confusion import Confusion, choose_threshold, confusion


def test_counts_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 4, 500), rng.dirichlet(np.ones(4), 500)
    found = confusion("multiclass", y, p, classes=("a", "b", "c", "d"))
    assert [list(row) for row in found.counts] == sk.confusion_matrix(y, p.argmax(1)).tolist()
    precision, recall, f1, support = sk.precision_recall_fscore_support(y, p.argmax(1))
    for index, each in enumerate(found.per_class()):
        expected = (precision[index], recall[index], f1[index], support[index])
        assert (each.precision, each.recall, each.f1, each.support) == pytest.approx(expected, abs=1e-12)


def test_rendering_is_aligned_text() -> None:
    found = Confusion(("on time", "late"), ((90, 5), (8, 7)), 0.5)
    lines = found.render().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split() == ["late", "8", "7", "0.583", "0.467", "0.519", "15"]
    assert json.loads(json.dumps(found.to_json()))["counts"] == [[90, 5], [8, 7]]


def test_class_without_rows_has_zero_shares() -> None:
    assert Confusion(("a", "b"), ((3, 0), (0, 0))).per_class()[1].f1 == 0.0


def test_classes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(Invalid):
        confusion("binary", np.array([0, 1]), np.array([0.1, 0.2]), classes=("a", "b", "c"))
    with pytest.raises(Invalid):
        confusion("regression", np.array([0.0]), np.array([0.1]))


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(3, 60),
    objective=st.sampled_from(["f1", "balanced_accuracy", "accuracy"]),
)
def test_no_other_threshold_does_better(seed: int, n: int, objective: str) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random(n).round(1)
    y = (rng.random(n) < p).astype(int)
    y[:2] = 0, 1
    judge = {
        "f1": lambda labels: sk.f1_score(y, labels, zero_division=0),
        "balanced_accuracy": lambda labels: sk.balanced_accuracy_score(y, labels),
        "accuracy": lambda labels: sk.accuracy_score(y, labels),
    }[objective]
    chosen = choose_threshold(y, p, objective)  # type: ignore[arg-type]
    assert judge(p >= chosen.value) == pytest.approx(chosen.achieved, abs=1e-12)
    assert chosen.achieved >= max(judge(p >= cut) for cut in np.linspace(-0.05, 1.05, 23)) - 1e-12


def test_dear_misses_lower_the_threshold() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(4_000)
    y = (rng.random(4_000) < p).astype(int)
    dear = choose_threshold(y, p, "cost", false_negative_cost=9.0)
    assert dear.value == pytest.approx(0.1, abs=0.06)
    assert dear.achieved < choose_threshold(y, p, "cost", false_negative_cost=9.0, false_positive_cost=9.0).achieved


def test_threshold_without_both_classes_is_refused() -> None:
    with pytest.raises(Invalid, match="both classes"):
        choose_threshold(np.zeros(3), np.array([0.1, 0.2, 0.3]))
