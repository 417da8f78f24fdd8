"""A small pipeline with scikit-learn, for executors to agree on."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mainspring.pipeline.step import pipeline, step

_FEATURES = ["hour", "distance", "carrier"]


class Halves(NamedTuple):
    train: pd.DataFrame
    test: pd.DataFrame


@step
def flights(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    table = pd.DataFrame(
        {
            "hour": rng.integers(0, 24, rows),
            "distance": rng.normal(1000, 300, rows),
            "carrier": rng.choice(["AA", "DL", "UA"], rows),
        }
    )
    return table.assign(late=(table["hour"] + rng.normal(0, 6, rows) > 15).astype("int64"))


@step
def cut(table: pd.DataFrame) -> Halves:
    half = len(table) // 2
    return Halves(table.iloc[:half].reset_index(drop=True), table.iloc[half:].reset_index(drop=True))


@step
def train(table: pd.DataFrame, estimator: object) -> Pipeline:
    columns = make_column_transformer(
        (StandardScaler(), ["hour", "distance"]), (OneHotEncoder(sparse_output=False), ["carrier"])
    )
    return make_pipeline(columns, estimator).fit(table[_FEATURES], table["late"])


@step
def loss(model: Pipeline, table: pd.DataFrame) -> float:
    return float(log_loss(table["late"], model.predict_proba(table[_FEATURES])[:, 1]))


@pipeline
def late(rows: int = 2000) -> dict[str, float]:
    halves = cut(flights(rows))
    models = {
        "linear": LogisticRegression(C=0.5),
        "trees": RandomForestClassifier(n_estimators=20, random_state=3),
    }
    return {name: loss(train(halves.train, estimator), halves.test) for name, estimator in models.items()}
