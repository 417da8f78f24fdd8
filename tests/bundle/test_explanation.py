"""Contributions are Shapley values: compared here with a count over every order, and with closed forms."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mainspring.bundle.explanation import Explanation, explain
from mainspring.bundle.format import write_bundle
from mainspring.bundle.manifest import BundleManifest
from mainspring.bundle.predictor import Columns, load_bundle
from mainspring.domain.signature import Column, Signature, Task
from mainspring.errors import Invalid


@dataclass
class Formula:
    """A predictor whose scores are a formula of its number columns."""

    signature: Signature
    formula: Callable[[np.ndarray], np.ndarray]

    @property
    def manifest(self) -> BundleManifest:
        raise AssertionError("an explanation needs the scores only")

    def predict(self, columns: Columns) -> np.ndarray:
        return self.formula(np.column_stack([columns[name] for name in self.signature.names]))


def formula(width: int, of: Callable[[np.ndarray], np.ndarray], task: Task = "regression") -> Formula:
    columns = tuple(Column(f"x{at}", "number") for at in range(width))
    return Formula(Signature(columns, "y", task, example={each.name: 0.0 for each in columns}), of)


def rows(count: int, width: int, seed: int = 0) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(seed).normal(size=(count, width))
    return {f"x{at}": numbers[:, at] for at in range(width)}


def by_every_order(model: Any, row: Columns, references: Columns) -> np.ndarray:
    """Return Shapley values from their definition: the mean step of each column over every order and reference."""
    names = model.signature.names
    total = np.zeros((len(names), *model.predict(row).shape[1:]))
    orders = list(itertools.permutations(range(len(names))))
    for order in orders:
        hybrid = {name: values.copy() for name, values in references.items()}
        before = model.predict(hybrid)
        for column in order:
            hybrid[names[column]][:] = row[names[column]][0]
            after = model.predict(hybrid)
            total[column] += (after - before).mean(axis=0)
            before = after
    return total / len(orders)


def wavy(x: np.ndarray) -> np.ndarray:
    return np.tanh(x[:, 0] * x[:, 1] + x[:, 2] - x[:, 3] * np.abs(x[:, 4]))


def summed(found: Explanation) -> np.ndarray:
    return found.base + found.contributions.sum(axis=1)


def never() -> float:
    return 0.0


def test_few_columns_get_the_mean_over_every_order() -> None:
    model, row, references = formula(5, wavy), rows(1, 5), rows(7, 5, seed=1)
    found = explain(model, row, references=references)
    np.testing.assert_allclose(found.contributions[0], by_every_order(model, row, references), atol=1e-14)
    assert found.passes == (0,)
    assert not found.errors.any()


def test_many_columns_are_sampled_to_within_their_standard_error() -> None:
    # four columns that change nothing widen the model beyond enumeration without changing the other values
    model, row, references = formula(9, wavy), rows(1, 9), rows(6, 9, seed=1)
    narrow = {name: values for name, values in row.items() if name < "x5"}
    near = {name: values for name, values in references.items() if name < "x5"}
    expected = by_every_order(formula(5, wavy), narrow, near)
    found = explain(model, row, references=references, clock=never)
    assert found.passes == (16,)
    assert (found.errors[0, :5] > 0).all()
    assert (np.abs(found.contributions[0, :5] - expected) < 5 * found.errors[0, :5]).all()
    np.testing.assert_array_equal(found.contributions[0, 5:], 0)


def test_an_order_with_its_reverse_is_exact_where_columns_act_in_pairs() -> None:
    def paired(x: np.ndarray) -> np.ndarray:
        return x[:, 0] * x[:, 1] + 3 * x[:, 2] * x[:, 3] - x[:, 4]

    model, row, references = formula(10, paired), rows(1, 10), rows(4, 10, seed=1)
    first = {name: values for name, values in row.items() if name < "x5"}
    near = {name: values for name, values in references.items() if name < "x5"}
    found = explain(model, row, references=references, seconds=0)
    expected = by_every_order(formula(5, paired), first, near)
    np.testing.assert_allclose(found.contributions[0, :5], expected, atol=1e-12)


def test_the_standard_error_is_the_spread_over_seeds() -> None:
    model, row, references = formula(9, wavy), rows(1, 9), rows(3, 9, seed=1)
    found = [explain(model, row, references=references, seed=seed, clock=never) for seed in range(60)]
    spread = np.std([each.contributions[0, :5] for each in found], axis=0, ddof=1)
    told = np.mean([each.errors[0, :5] for each in found], axis=0)
    np.testing.assert_allclose(told / spread, 1, atol=0.4)


@pytest.mark.parametrize("width", [3, 12])
def test_a_linear_model_gets_its_closed_form(width: int) -> None:
    weights = np.arange(1.0, width + 1)
    model, given, references = formula(width, lambda x: x @ weights + 7), rows(4, width), rows(40, width, seed=1)
    found = explain(model, given, references=references, seconds=0)
    used = np.unique(np.linspace(0, 39, 32).astype(int))
    for at, name in enumerate(model.signature.names):
        expected = weights[at] * (given[name] - references[name][used].mean())
        np.testing.assert_allclose(found.contributions[:, at], expected, atol=1e-12)


@pytest.mark.parametrize("width", [5, 11])
def test_base_and_contributions_are_the_score_itself(width: int) -> None:
    def three(x: np.ndarray) -> np.ndarray:
        raised = np.exp(np.column_stack([wavy(x), x[:, 1], -(x[:, 4] ** 2)]))
        return raised / raised.sum(axis=1, keepdims=True)

    for task, of in (("regression", wavy), ("multiclass", three)):
        model, given = formula(width, of, task), rows(3, width)
        found = explain(model, given, references=rows(5, width, seed=1), seconds=0)
        assert found.contributions.shape == (3, width, *model.predict(given).shape[1:])
        np.testing.assert_allclose(summed(found), model.predict(given), atol=1e-12)


def test_the_time_runs_out_after_one_pass_in_any_case() -> None:
    def ticking() -> Iterator[float]:
        return itertools.count(0.0, 1.0)

    model, given = formula(10, wavy), rows(2, 10)
    for seconds, passes in ((0.0, (1, 1)), (10.0, (5, 5)), (1e9, (16, 16))):
        ticks = ticking()
        found = explain(model, given, seconds=seconds, clock=lambda ticks=ticks: next(ticks))
        assert found.passes == passes
        assert bool(np.isnan(found.errors).all()) is (seconds == 0.0)
        np.testing.assert_allclose(summed(found), wavy(np.column_stack(list(given.values()))), atol=1e-12)


def test_the_same_seed_deals_the_same_orders() -> None:
    model, given = formula(10, wavy), rows(1, 10)
    first, again, other = (explain(model, given, seed=seed, clock=never) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.contributions, again.contributions)
    assert (first.contributions != other.contributions).any()


def test_a_bundle_is_explained_with_texts_and_gaps(tmp_path: Path, forest: Any, signature: Signature) -> None:
    write_bundle(tmp_path / "b", forest, signature, name="m")
    predictor = load_bundle(tmp_path / "b")
    given = {
        "distance": np.array([np.nan, 400.0]),
        "seats": np.array([290.0, 60.0]),
        "carrier": np.array(["UA", None], dtype=object),
    }
    found = explain(predictor, given)
    assert found.columns == ("distance", "seats", "carrier")
    np.testing.assert_allclose(summed(found), predictor.predict(given), atol=1e-14)
    example = {"distance": np.array([900.0]), "seats": np.array([180.0]), "carrier": np.array(["AA"], dtype=object)}
    assert found.base == predictor.predict(example)[0]
    for row in range(2):
        alone = {name: values[row : row + 1] for name, values in given.items()}
        expected = by_every_order(predictor, alone, example)
        np.testing.assert_allclose(found.contributions[row], expected, atol=1e-14)


def test_a_moment_of_the_example_is_read_in_utc() -> None:
    columns = (Column("at", "timestamp", nullable=True),)
    hours = np.datetime64("2026-01-01T00:00", "us")
    model = Formula(
        Signature(columns, "y", "regression", example={"at": "2026-01-01T03:00:00+02:00"}),
        lambda x: (x[:, 0] - hours) / np.timedelta64(1, "h"),
    )
    found = explain(model, {"at": np.array(["2026-01-01T05:00"], dtype="datetime64[us]")})
    assert (float(found.base), found.contributions.tolist()) == (1.0, [[4.0]])


def test_what_cannot_be_compared_is_told() -> None:
    model = formula(2, lambda x: x[:, 0])
    with pytest.raises(Invalid, match="`x1` is missing"):
        explain(model, {"x0": np.zeros(1)})
    with pytest.raises(Invalid, match="no rows"):
        explain(model, rows(1, 2), references=rows(0, 2))
    bare = Formula(Signature(model.signature.columns, "y", "regression"), model.formula)
    with pytest.raises(Invalid, match="no row to compare"):
        explain(bare, rows(1, 2))
