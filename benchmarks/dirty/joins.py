"""Faults around the join: partners that are incomplete or late, and columns that know what they cannot know."""

import random
from typing import Any

import numpy as np
from dirty.planted import Rows, fault

from mainspring.data import Columns, join_asof, join_lookup

__all__ = ["FEATURES", "build"]

WEATHER = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
FEATURES = ["departs_at", "observed_at", "carrier", "origin", "dest", "hour", "minute", "weekday", "distance"]
FEATURES += [*WEATHER, "seats", "built", "late"]


def build(sources: dict[str, Columns], *, delay: str = "1h") -> Columns:
    """Put plane and weather beside the flights that landed, as the demo's first step does."""
    flown = dict(sources["flights"])
    flown["departs_at"] = flown["time_hour"] + flown["minute"].astype("timedelta64[m]")
    flown["weekday"] = (flown["departs_at"].astype("datetime64[D]").astype(int) + 3.0) % 7
    weather, planes = sources["weather"], sources["planes"]
    observed = {"observed_at": weather["time_hour"], **{name: weather[name] for name in ("origin", *WEATHER)}}
    built = {"tailnum": planes["tailnum"], "built": planes["year"], "seats": planes["seats"]}
    joined = join_asof(flown, observed, on="origin", left_time="departs_at", right_time="observed_at", delay=delay)
    table = join_lookup(joined.columns, built, on="tailnum").columns
    landed = ~np.isnan(table["arr_delay"])
    table = {name: array[landed] for name, array in table.items()}
    return {**{name: table[name] for name in FEATURES[:-1]}, "late": (table["arr_delay"] > 15).astype(np.float64)}


# the partners


@fault("joined", "seats most_missing", "sources")
def register_cut(sources: dict[str, Columns], _: random.Random) -> Rows:
    """Half of the register of planes is not there."""
    sources["planes"] = {name: array[::2] for name, array in sources["planes"].items()}
    known = set(sources["planes"]["tailnum"])
    return {n for n, plane in enumerate(_landed(sources, "tailnum")) if plane not in known}


@fault("joined", "joining", "sources")
def register_with_planes_twice(sources: dict[str, Columns], _: random.Random) -> Rows:
    """Some planes stand in the register twice."""
    sources["planes"] = {name: np.concatenate([array, array[:9]]) for name, array in sources["planes"].items()}
    return None


@fault("joined", "joining", "sources")
def keys_of_another_type(sources: dict[str, Columns], _: random.Random) -> Rows:
    """The planes' keys are numbers."""
    planes = sources["planes"]
    planes["tailnum"] = np.arange(len(planes["tailnum"]), dtype=np.float64)
    return None


@fault("joined", "temp most_missing", "sources")
def weather_of_an_airport_lost(sources: dict[str, Columns], _: random.Random) -> Rows:
    """One airport has no weather."""
    weather = sources["weather"]
    sources["weather"] = {name: array[weather["origin"] != "LGA"] for name, array in weather.items()}
    return {n for n, origin in enumerate(_landed(sources, "origin")) if origin == "LGA"}


@fault("joined", "fresh_weather", "sources")
def weather_ends_early(sources: dict[str, Columns], _: random.Random) -> Rows:
    """The weather ends on the twentieth, and the join goes on with the last it has."""
    end = np.datetime64("2013-09-20")
    weather = sources["weather"]
    sources["weather"] = {name: array[weather["time_hour"] < end] for name, array in weather.items()}
    departs = _landed(sources, "time_hour") + _landed(sources, "minute").astype("timedelta64[m]")
    return set(np.flatnonzero(departs >= end + np.timedelta64(11, "h")).tolist())


@fault("joined", "weather_of_its_airport", "joined")
def weather_of_another_airport(table: Columns, rng: random.Random) -> Rows:
    """The flights of one airport have the weather of another."""
    here, there = np.flatnonzero(table["origin"] == "JFK"), np.flatnonzero(table["origin"] == "EWR")
    order = np.argsort(table["observed_at"][there])
    places = np.searchsorted(table["observed_at"][there][order], table["observed_at"][here])
    taken = there[order][np.minimum(places, len(there) - 1)]
    before = table["temp"].copy()
    for name in WEATHER:
        table[name] = table[name].copy()
        table[name][here] = table[name][taken]
    return set(np.flatnonzero(before != table["temp"]).tolist())


@fault("joined", "weather_of_its_airport", "joined")
def rows_misaligned_after_the_join(table: Columns, _: random.Random) -> Rows:
    """The weather was put beside the flights in another order of rows."""
    before = table["temp"]
    for name in WEATHER:
        table[name] = np.roll(table[name], 1)
    return set(np.flatnonzero((before != table["temp"]) & ~np.isnan(table["temp"])).tolist())


# what cannot be known


@fault("joined", "known_by_then", "built")
def weather_of_the_future(sources: dict[str, Columns], _: random.Random) -> Any:
    """The join takes weather as known when it is observed, an hour before anybody has it."""
    good, bad = build(sources), build(sources, delay="0h")
    sources["table"] = bad
    return set(np.flatnonzero(good["observed_at"] != bad["observed_at"]).tolist())


@fault("joined", "future_leaks", "function")
def mean_over_the_whole_table(sources: dict[str, Columns], _: random.Random) -> Any:
    """A feature is the mean of the whole table, with what is still to come."""

    def with_mean(given: dict[str, Columns]) -> Columns:
        table = build(given)
        table["usual_temp"] = np.full(len(table["temp"]), np.nanmean(table["temp"]))
        return table

    return with_mean


@fault("joined", "future_leaks", "function")
def looks_at_the_next_weather(sources: dict[str, Columns], _: random.Random) -> Any:
    """A function joins with the weather of the coming hour."""

    def ahead(given: dict[str, Columns]) -> Columns:
        earlier = {**given["weather"], "time_hour": given["weather"]["time_hour"] - np.timedelta64(2, "h")}
        return build({**given, "weather": earlier})

    return ahead


@fault("joined", "leak target", "leak")
def delay_among_the_features(table: Columns, rng: random.Random) -> Any:
    """The delay that the target is made of is a feature."""
    noise = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 20, len(table["late"]))
    table["delay"] = np.where(table["late"] > 0, 16 + np.abs(noise), 14 - np.abs(noise))
    return "delay"


@fault("joined", "leak target", "leak")
def target_by_another_name(table: Columns, _: random.Random) -> Any:
    """The target stands there a second time, in words."""
    table["status"] = np.where(table["late"] > 0, "delayed", "on time").astype(object)
    return "status"


@fault("joined", "leak after", "leak")
def arrival_among_the_features(table: Columns, _: random.Random) -> Any:
    """The moment of arrival is a feature."""
    table["arrived_at"] = table["departs_at"] + np.timedelta64(150, "m")
    return "arrived_at"


@fault("joined", "leak id", "leak")
def number_of_the_booking(table: Columns, rng: random.Random) -> Any:
    """A number that stands once is a feature."""
    table["booking"] = np.random.default_rng(1).permutation(len(table["late"])).astype(np.float64)
    return "booking"


@fault("joined", "leak repeated", "leak")
def newest_rows_in_training(table: Columns, _: random.Random) -> Any:
    """Some of the newest rows, on which a model is tested, stand among the older ones as well."""
    newest = np.argsort(table["departs_at"])[-400:]
    for name, array in table.items():
        again = array[newest] - np.timedelta64(14, "D") if name == "departs_at" else array[newest]
        table[name] = np.concatenate([array, again])
    return ""


@fault("joined", "late_as_before", "joined")
def target_turned_around(table: Columns, _: random.Random) -> Rows:
    """Late is on time and on time is late."""
    table["late"] = 1 - table["late"]
    return None


@fault("joined", "right_weekday", "joined")
def week_begins_on_sunday(table: Columns, _: random.Random) -> Rows:
    """The days of the week are counted from Sunday."""
    table["weekday"] = (table["weekday"] + 1) % 7
    return set(range(len(table["weekday"])))


@fault("joined", "built_before_it_flew", "sources")
def year_of_the_plane_in_the_future(sources: dict[str, Columns], _: random.Random) -> Rows:
    """Some planes were built after they flew."""
    planes = sources["planes"]
    new = planes["year"] >= 2012
    planes["year"] = np.where(new, planes["year"] + 10, planes["year"])
    odd = set(planes["tailnum"][new])
    return {n for n, plane in enumerate(_landed(sources, "tailnum")) if plane in odd}


def _landed(sources: dict[str, Columns], name: str) -> Any:
    flights = sources["flights"]
    return flights[name][~np.isnan(flights["arr_delay"])]
