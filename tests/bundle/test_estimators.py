"""Estimators to bytes and back: equal answers, equal bytes, and nothing that was not meant to be saved."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from mainspring.bundle.estimators import dump_estimator, load_estimator
from mainspring.errors import Corrupt, Refused

ZOO = Path(__file__).with_name("zoo.py")


@pytest.fixture(scope="module")
def zoo() -> dict[str, tuple[Any, Any]]:
    models: dict[str, tuple[Any, Any]] = runpy.run_path(str(ZOO))["fitted"]()
    return models


NAMES = sorted([*runpy.run_path(str(ZOO))["ESTIMATORS"], "ridge", "grid", "tfidf", "counts", "ordinal", "target"])
NAMES += ["categories", "selector", "linear_array", "dummy_regressor", "forest_regressor", "boosted_regressor"]


@pytest.mark.parametrize("name", NAMES)
def test_a_model_answers_the_same_after_a_round_trip(zoo: dict[str, tuple[Any, Any]], name: str) -> None:
    model, rows = zoo[name]
    data = dump_estimator(model)
    loaded: Any = load_estimator(data)
    answer = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    np.testing.assert_array_equal(getattr(model, answer)(rows), getattr(loaded, answer)(rows))
    assert dump_estimator(loaded) == data


def test_the_names_are_all_of_the_zoo(zoo: dict[str, tuple[Any, Any]]) -> None:
    assert sorted(NAMES) == sorted(zoo)


def test_two_processes_write_the_same_bytes(zoo: dict[str, tuple[Any, Any]]) -> None:
    printed = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, ZOO], env=environment, capture_output=True, text=True, check=True)
        printed.append(done.stdout.splitlines())
    assert len(printed[0]) == len(zoo)
    assert printed[0] == printed[1]


def double(values: Any) -> Any:
    return values * 2


@pytest.mark.parametrize("function", [double, lambda values: values])
def test_a_function_of_ones_own_is_refused_when_saving(table: Any, function: Callable[[Any], Any]) -> None:
    model = make_pipeline(FunctionTransformer(function), LogisticRegression(max_iter=1000))
    model.fit(table[["seats"]], table.seats > 150)
    with pytest.raises(Refused, match="may not hold") as caught:
        dump_estimator(model)
    assert "test_estimators" in caught.value.what
    assert "functions and classes of your own" in caught.value.next_step


def test_an_estimator_whose_code_trusts_its_file_is_refused(fit: Callable[[Any], Any]) -> None:
    with pytest.raises(Refused, match="KDTree") as caught:
        dump_estimator(fit(KNeighborsClassifier(algorithm="kd_tree")))
    assert "brute" in caught.value.next_step
    dump_estimator(fit(KNeighborsClassifier(algorithm="brute")))


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_bytes_that_are_no_model_are_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        load_estimator(data)


def test_a_file_cut_short_is_corrupt(forest: Any) -> None:
    data = dump_estimator(forest)
    for size in (10, len(data) // 2, len(data) - 1):
        with pytest.raises(Corrupt):
            load_estimator(data[:size])
