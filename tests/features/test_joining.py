"""Point-in-time joins: what was known at the moment of a row, and nothing of what came later."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.table import read_columns
from mainspring.errors import Invalid, NotFound
from mainspring.features import FeatureView, join_features, join_features_to

START = datetime(2026, 1, 1, tzinfo=UTC)
TRIPS = [  # driver, hour, fare
    (1, 1, 10.0), (1, 3, 20.0), (2, 2, 7.0), (1, 3, 30.0), (1, 30, 5.0), (2, 50, None),
]  # fmt: skip


def hour(number: float) -> str:
    return (START + timedelta(hours=number)).strftime("%Y-%m-%d %H:%M:%S")


def write(path: Path, header: list[str], rows: list[tuple[Any, ...]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def trips(folder: Path, rows: list[Any] = TRIPS) -> Path:
    return write(folder / "trips.csv", ["driver_id", "ended_at", "fare"], [(k, hour(at), v) for k, at, v in rows])


def view(source: Path, **options: Any) -> FeatureView:
    features = {"last_fare": "fare", "total": "sum(fare) OVER history", "trips_day": "count(*) OVER day"}
    return FeatureView(
        "driver_stats", source=source, keys="driver_id", time="ended_at",
        **{"features": features, "windows": {"day": "1d"}, **options},
    )  # fmt: skip


def asked(*pairs: tuple[Any, float]) -> dict[str, Any]:
    return {"driver_id": [each[0] for each in pairs], "at": np.array([hour(each[1]) for each in pairs], "M8[us]")}


def test_each_row_gets_the_newest_known_values_in_its_order(tmp_path: Path) -> None:
    found = join_features(asked((1, 29), (2, 2), (1, 0), (3, 9), (1, 3), (1, 31)), [view(trips(tmp_path))], time="at")
    assert list(found) == ["driver_id", "at", "last_fare", "total", "trips_day"]
    np.testing.assert_array_equal(found["driver_id"], [1, 2, 1, 3, 1, 1])
    np.testing.assert_array_equal(found["last_fare"], [30, 7, np.nan, np.nan, 30, 5])
    np.testing.assert_array_equal(found["total"], [60, 7, np.nan, np.nan, 60, 65])
    np.testing.assert_array_equal(found["trips_day"], [3, 1, np.nan, np.nan, 3, 1])


def test_a_delay_hides_what_was_not_known_yet_and_a_ttl_what_is_too_old(tmp_path: Path) -> None:
    late = view(trips(tmp_path), delay="2h", ttl="12h", features={"last_fare": "fare"})
    found = join_features(asked((1, 4.9), (1, 5), (1, 15), (1, 15.1), (2, 4)), [late], time="at")
    np.testing.assert_array_equal(found["last_fare"], [10, 30, 30, np.nan, 7])


def test_several_views_of_other_keys_and_files_to_a_file(tmp_path: Path) -> None:
    cars = write(tmp_path / "cars.csv", ["plate", "seen", "km"], [("A", hour(1), 100), ("A", hour(9), 900)])
    car = FeatureView("car", source=cars, keys=["plate"], time="seen", features={"km": "km", "far": "km > 500"})
    rows = [(1, "A", hour(5), "x"), (2, "B", hour(60), "y"), ("", "A", hour(9), "z"), (1, "A", "", "w")]
    entities = write(tmp_path / "asked.csv", ["driver_id", "plate", "at", "note"], rows)
    assert join_features_to(tmp_path / "out.parquet", entities, [view(trips(tmp_path)), car], time="at") == 4
    found = read_columns(tmp_path / "out.parquet")
    assert found["note"].tolist() == ["x", "y", "z", "w"]
    np.testing.assert_array_equal(found["total"], [60, 7, np.nan, np.nan])
    np.testing.assert_array_equal(found["km"], [100, np.nan, 900, np.nan])
    np.testing.assert_array_equal(found["far"], [0, np.nan, 1, np.nan])
    assert not list(tmp_path.glob(".out*"))


def test_windows_of_rows_and_functions_that_look_back(tmp_path: Path) -> None:
    source = trips(tmp_path, [(1, 1, 1.0), (1, 2, 2.0), (1, 2, 4.0), (1, 3, 8.0)])
    made = view(
        source,
        windows={"two": 2},
        features={
            "pair": "sum(fare) OVER two",
            "before": "lag(fare) OVER history",
            "listed": "string_agg(CAST(fare AS INTEGER)::TEXT, '-') OVER history",
            "hour_of": "date_trunc('hour', ended_at)",
            "cheap": "CASE WHEN fare < 3 THEN 'yes' ELSE 'no' END",
            "nth": "row_number() OVER history",
        },
    )
    found = join_features(asked((1, 2), (1, 3)), [made], time="at")
    np.testing.assert_array_equal(found["pair"], [6, 12])
    np.testing.assert_array_equal(found["before"], [2, 4])
    assert found["listed"].tolist() == ["1-2-4", "1-2-4-8"]
    assert found["cheap"].tolist() == ["no", "no"]
    np.testing.assert_array_equal(found["hour_of"], np.array([hour(2), hour(3)], "M8[us]"))
    np.testing.assert_array_equal(found["nth"], [3, 4])


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("lead(fare) OVER history", "later"),
        ("lag(fare, -1) OVER history", "later"),
        ("lag(fare, CAST(fare AS INTEGER)) OVER history", "later"),
        ("lag(fare ORDER BY ended_at DESC) OVER history", "later"),
        ("ntile(4) OVER history", "later"),
        ("percent_rank() OVER history", "later"),
        ("avg(fare) OVER (PARTITION BY driver_id)", "window of its own"),
        ("avg(fare) OVER (PARTITION BY driver_id ORDER BY ended_at DESC)", "window of its own"),
        ("avg(fare) OVER (history ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING)", "window|expression"),
        ("avg(fare) OVER ()", "window of its own"),
        ("avg(fare)", "all rows together"),
        ("list(fare) OVER day", "an order"),
        ("lag(fare) OVER day", "an order"),
        ("random()", "same answer"),
        ("epoch(now() - ended_at)", "same answer"),
        ("age(ended_at)", "asks the clock"),
        ("current_date", "same answer|no column"),
        ("CURRENT_TIMESTAMP", "same answer|no column"),
        ("main.random()", "same answer"),
        ("current_setting('threads')", "same answer"),
        ("lag(fare, NULL) OVER history", "later"),
        ("driver_id IN (SELECT 1)", "reads a table"),
        ('"#t"', "no column"),
        ("sum(fare) OVER (day EXCLUDE CURRENT ROW)", "no expression"),
        ("approx_quantile(fare, 0.5) OVER history", "same answer"),
        ("(SELECT max(fare) FROM 'trips.csv')", "reads a table"),
        ("COLUMNS(*)", "reads a table"),
        ("fare) WHERE (true", "more than an expression"),
        ("fare), (1", "more than an expression"),
        ("fair", "no column `fair`"),
        ("#1", "positional"),
        ("fare +", "no expression"),
        ("fare || [1]", "does not fit|is DOUBLE"),
        ("[fare]", r"is DOUBLE\[\]"),
        ("$1", "parameter"),
    ],
)  # fmt: skip
def test_an_expression_that_could_see_more_than_its_past_is_refused(tmp_path: Path, expression: str, told: str) -> None:
    made = view(trips(tmp_path), features={"f": expression})
    with pytest.raises(Invalid, match=told) as caught:
        join_features(asked((1, 2)), [made], time="at")
    assert "driver_stats.f" in caught.value.where
    assert caught.value.next_step


rows_of_trips = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 40), st.one_of(st.none(), st.integers(-9, 9))), max_size=25
)


@settings(max_examples=25, deadline=None)
@given(
    past=rows_of_trips, future=rows_of_trips, other=rows_of_trips, at=st.integers(0, 30), delay=st.integers(0, 3),
    mixed=st.randoms(use_true_random=False),
)  # fmt: skip
def test_no_change_of_the_future_changes_what_a_row_sees(
    tmp_path_factory: pytest.TempPathFactory, past: Any, future: Any, other: Any, at: int, delay: int, mixed: Any
) -> None:
    folder = tmp_path_factory.mktemp("future")
    features = {
        "last": "fare", "all": "sum(fare) OVER history", "mean": "avg(fare) OVER day", "n": "count(*) OVER day",
        "before": "lag(fare, 2) OVER history", "pair": "max(fare) OVER two", "nth": "dense_rank() OVER history",
    }  # fmt: skip
    known = [row for row in past if row[1] + delay <= at]
    answers = []
    for unknown in (future, other, []):
        later = [(key, at - delay + 1 + hours, fare) for key, hours, fare in unknown]
        rows = later + known if answers else known + later  # where they stand in the file does not matter
        if len(answers) == 2:
            rows = known
        path = trips(folder, [*rows, (99, 0, 1.5)])
        made = view(path, delay=timedelta(hours=delay), windows={"day": "1d", "two": 2}, features=features)
        found = join_features(asked((1, at), (2, at), (3, at)), [made], time="at")
        answers.append({name: array.tolist() for name, array in found.items() if name in features})
    assert str(answers[0]) == str(answers[1]) == str(answers[2])
    for key, total in zip((1, 2, 3), answers[0]["all"], strict=True):  # and it is the right answer
        fares = [fare for one, _, fare in known if one == key and fare is not None]
        assert total == sum(fares) if fares else total != total


def test_frames_and_files_that_do_not_fit_are_told(tmp_path: Path) -> None:
    made = view(trips(tmp_path))
    with pytest.raises(Invalid, match="no key `driver_id`"):
        join_features({"driver": [1], "at": asked((1, 1))["at"]}, [made], time="at")
    with pytest.raises(Invalid, match="holds string values here and integer"):
        join_features({"driver_id": ["1"], "at": asked((1, 1))["at"]}, [made], time="at")
    with pytest.raises(Invalid, match="not whole"):
        join_features({"driver_id": [1.5], "at": asked((1, 1))["at"]}, [made], time="at")
    with pytest.raises(Invalid, match="too large to be told apart"):
        join_features({"driver_id": [2**53 + 1], "at": asked((1, 1))["at"]}, [made], time="at")
    with pytest.raises(Invalid, match="holds no moments"):
        join_features({"driver_id": [1], "at": ["noon"]}, [made], time="at")
    with pytest.raises(Invalid, match="`total` is a column of the entities and a feature"):
        join_features({**asked((1, 1)), "total": [1]}, [made], time="at")
    with pytest.raises(Invalid, match="a feature of the view"):
        join_features(asked((1, 1)), [made, made], time="at")
    with pytest.raises(NotFound, match="no file"):
        join_features(asked((1, 1)), [view(tmp_path / "gone.csv")], time="at")
    with pytest.raises(Invalid, match="is the dataset `trips/3`"):
        join_features(asked((1, 1)), [view("trips/3")], time="at")  # type: ignore[arg-type]
    bad = write(tmp_path / "bad.csv", ["driver_id", "fare"], [(1, 2)])
    with pytest.raises(Invalid, match="The source has no column `ended_at`"):
        join_features(asked((1, 1)), [view(bad)], time="at")


def test_a_frame_of_pandas_may_have_missing_keys(tmp_path: Path) -> None:
    frame = pd.DataFrame({"driver_id": pd.array([1, None], dtype="Int64"), "at": pd.to_datetime([hour(4)] * 2)})
    found = join_features(frame, [view(trips(tmp_path))], time="at")
    np.testing.assert_array_equal(found["total"], [60, np.nan])


def test_a_value_that_cannot_be_computed_is_told(tmp_path: Path) -> None:
    made = view(trips(tmp_path), features={"f": "CAST(1e300 * fare AS INTEGER)"})
    with pytest.raises(Invalid, match="cannot be computed: Conversion Error") as caught:
        join_features(asked((1, 2)), [made], time="at")
    assert "TRY_CAST" in caught.value.next_step
    assert "e+" not in str(caught.value)  # the value, which may be personal
    entities = write(tmp_path / "asked.csv", ["driver_id", "at"], [(1, hour(5))])
    with pytest.raises(Invalid, match="cannot be computed"):
        join_features_to(tmp_path / "out.parquet", entities, [made], time="at")
    assert not list(tmp_path.glob("*out*"))


def test_moments_with_a_zone_are_moments_in_utc(tmp_path: Path) -> None:
    rows = [(1, "2026-01-01 10:00:00+02:00", 3)]
    source = write(tmp_path / "zoned.csv", ["driver_id", "ended_at", "fare"], rows)
    made = view(source, features={"hour_of": "hour(ended_at)", "seen": "ended_at"})
    found = join_features(asked((1, 7.99), (1, 8)), [made], time="at")
    np.testing.assert_array_equal(found["hour_of"], [np.nan, 8])
    assert str(found["seen"][1]) == "2026-01-01T08:00:00.000000"


@pytest.mark.parametrize("name", ["note", "file_row_number"])
def test_of_rows_of_one_time_the_last_counts_however_the_file_numbers_them(tmp_path: Path, name: str) -> None:
    source, rows = tmp_path / "rows.parquet", 50_000  # more than one thread reads
    with duckdb.connect() as connection:
        moments = "'2026-01-01 00:00Z'::TIMESTAMPTZ + to_hours(i // 5) AS seen"
        query = f"SELECT i % 5 // 2 AS k, {moments}, i AS v, 7 AS {name} FROM range({rows}) AS t(i)"
        connection.execute(f"COPY ({query}) TO '{source}' (FORMAT parquet, ROW_GROUP_SIZE 4096)")
    plain = FeatureView("plain", source=source, keys="k", time="seen", features={"v": "v", "n": f'"{name}" + v'})
    summed = FeatureView("summed", source=source, keys="k", time="seen", features={"total": "sum(v) OVER history"})
    at = np.array([START.replace(tzinfo=None) + timedelta(hours=each) for each in (9_999, 0, 3)], "M8[us]")
    found = join_features({"k": np.array([0.0, 1.0, 2.0]), "at": at}, [plain, summed], time="at")
    np.testing.assert_array_equal(found["v"], [49_996, 3, 19])
    np.testing.assert_array_equal(found["n"], found["v"] + 7)
    np.testing.assert_array_equal(found["total"], [sum(10 * n + 1 for n in range(10_000)), 2 + 3, 4 + 9 + 14 + 19])


def test_what_is_known_from_ever_is_known_and_what_never_will_be_is_not(tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    with duckdb.connect() as connection:
        listed = "(1, '-infinity'::TIMESTAMPTZ, 5), (1, 'infinity'::TIMESTAMPTZ, 6), (2, NULL, 7)"
        connection.execute(f"COPY (SELECT * FROM (VALUES {listed}) t(k, seen, v)) TO '{source}' (FORMAT parquet)")
    always = FeatureView("always", source=source, keys="k", time="seen", features={"v": "v"})
    entities = {"k": np.array([1.0, 2.0]), "at": np.array([START.replace(tzinfo=None)] * 2, "M8[us]")}
    np.testing.assert_array_equal(join_features(entities, [always], time="at")["v"], [5, np.nan])
