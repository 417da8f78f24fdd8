"""Tables and fitted models that several tests of the bundle share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mainspring.domain.signature import Column, Signature

NUMBERS, WORDS = ["distance", "seats"], ["carrier"]


def frame(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "distance": rng.normal(1000, 300, rows),
            "seats": rng.integers(50, 300, rows).astype(float),
            "carrier": pd.Series(rng.choice(["AA", "B6", "UA"], rows), dtype="str"),
        }
    )
    table.loc[::17, "distance"] = np.nan
    table.loc[::13, "carrier"] = None
    return table


def target(table: pd.DataFrame) -> np.ndarray:
    return np.where(table.seats + 20 * (table.carrier == "UA") > 170, "late", "on time")


def encoded(estimator: Any) -> Pipeline:
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    columns = [("n", numbers, NUMBERS), ("w", OneHotEncoder(handle_unknown="ignore"), WORDS)]
    return make_pipeline(ColumnTransformer(columns), estimator)


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    return frame()


@pytest.fixture(scope="session")
def fit(table: pd.DataFrame) -> Callable[[Any], Any]:
    """Fit an estimator behind the usual encoders."""
    return lambda estimator: encoded(estimator).fit(table, target(table))


@pytest.fixture(scope="session")
def forest(fit: Callable[[Any], Any]) -> Any:
    return fit(RandomForestClassifier(3, max_depth=4, random_state=0))


@pytest.fixture(scope="session")
def boosted(fit: Callable[[Any], Any]) -> Any:
    return fit(HistGradientBoostingClassifier(max_iter=3, random_state=0))


@pytest.fixture(scope="session")
def signature() -> Signature:
    columns = (
        Column("distance", "number", nullable=True, low=0.0, high=5000.0),
        Column("seats", "number", low=50.0, high=300.0),
        Column("carrier", "string", nullable=True, categories=("AA", "B6", "UA")),
    )
    example = {"distance": 900.0, "seats": 180.0, "carrier": "AA"}
    return Signature(columns, "late", "binary", ("late", "on time"), example)
