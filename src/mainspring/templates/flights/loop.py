"""Will this flight arrive over 15 minutes late? The life of a model, from raw files to retraining and rollback."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

import mainspring as ms
from mainspring.data import frame_of, join_asof, join_lookup, read_columns

TEXT = ["carrier", "origin", "dest"]
WEATHER = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
NUMBERS = ["hour", "minute", "weekday", "distance", *WEATHER, "seats", "built"]


@ms.step
def flights(folder: Path, until: datetime) -> pd.DataFrame:
    """Return the flights whose outcome was known at `until`, with the plane and the weather an hour before."""
    flown, weather, planes = (read_columns(folder / f"{name}.csv") for name in ("flights", "weather", "planes"))
    flown["departs_at"] = flown["time_hour"] + flown["minute"].astype("timedelta64[m]")
    flown["weekday"] = (flown["departs_at"].astype("datetime64[D]").astype(int) + 3.0) % 7
    observed = {"observed_at": weather["time_hour"], **{name: weather[name] for name in ("origin", *WEATHER)}}
    built = {"tailnum": planes["tailnum"], "built": planes["year"], "seats": planes["seats"]}
    joined = join_asof(flown, observed, on="origin", left_time="departs_at", right_time="observed_at", delay="1h")
    frame = frame_of(join_lookup(joined.columns, built, on="tailnum").columns)
    known = frame["departs_at"] < np.datetime64(until.replace(tzinfo=None)) - np.timedelta64(1, "D")
    frame = frame[known & frame["arr_delay"].notna()].sort_values("departs_at", kind="stable", ignore_index=True)
    return frame.assign(late=(frame["arr_delay"] > 15).astype("int64"))[["departs_at", *TEXT, *NUMBERS, "late"]]


@ms.step
def boosted_trees(rate: float) -> Pipeline:
    """Return the estimator to fit; it takes the text columns as categories."""
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    trees = HistGradientBoostingClassifier(learning_rate=rate, categorical_features=[0, 1, 2], random_state=0)
    return make_pipeline(make_column_transformer((ordinal, TEXT), ("passthrough", NUMBERS)), trees)


@ms.pipeline
def train(folder: Path, until: datetime, rate: float = 0.06) -> ms.Candidate:
    """Train on everything that was known at `until`."""
    table = ms.check(flights(folder, until), Path(__file__).with_name("flights.schema.yaml"))
    parts = ms.split(table, time="departs_at", target="late")
    return ms.evaluate(ms.fit(boosted_trees(rate), parts), parts, slices=["origin", "carrier"])


loop = ms.Loop(
    "late-flights",
    train=train,
    goal="roc_auc >= 0.65",
    gates=[ms.beats_champion(), ms.worst_slice(0.55), ms.latency(p99_ms=50), ms.replay(10_000)],
    approve=ms.by("reviewer"),
    rollout=ms.canary(5, 25, 100, bake="2d"),
    retrain=ms.retrain("canary", cooldown="7d"),
)
