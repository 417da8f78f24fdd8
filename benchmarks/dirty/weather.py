"""Faults in the tables that stand beside the flights: the weather of three airports, and the register of planes."""

import random

from dirty.planted import Rows, Table, fault

__all__: list[str] = []


def _celsius(text: str) -> str:
    return f"{(float(text) - 32) / 1.8:.2f}"


@fault("weather", "humid_as_dew")
def temperature_in_celsius(table: Table, _: random.Random) -> Rows:
    """Temperature and dew point are in Celsius."""
    return table.change("temp", _celsius) | table.change("dewp", _celsius)


@fault("weather", "like_its_neighbours")
def one_airport_in_celsius(table: Table, _: random.Random) -> Rows:
    """One airport gives its temperature in Celsius."""
    return table.change("temp", _celsius, table.where(origin="JFK"))


@fault("weather", "gust")
def wind_in_kilometres(table: Table, _: random.Random) -> Rows:
    """The speed of the wind, but not that of gusts, is in kilometres an hour."""
    return table.change("wind_speed", lambda text: f"{float(text) * 1.609344:.4f}")


@fault("weather", "pressure min")
def pressure_in_inches(table: Table, rng: random.Random) -> Rows:
    """Some pressures are in inches of mercury."""
    return table.change("pressure", lambda text: f"{float(text) / 33.8639:.2f}", table.some(rng, 200, "pressure"))


@fault("weather", "pressure_like_its_neighbours")
def barometer_off(table: Table, _: random.Random) -> Rows:
    """The barometer of one airport reads eight millibars too much."""
    return table.change("pressure", lambda text: f"{float(text) + 8:.1f}", table.where(origin="LGA"))


@fault("weather", "visib max")
def visibility_in_kilometres(table: Table, _: random.Random) -> Rows:
    """The visibility is in kilometres."""
    return table.change("visib", lambda text: f"{float(text) * 1.609344:.2f}")


@fault("weather", "humid min")
def humidity_as_a_share(table: Table, _: random.Random) -> Rows:
    """The humidity is a share instead of percent."""
    return table.change("humid", lambda text: f"{float(text) / 100:.4f}")


@fault("weather", "precip max")
def rain_in_millimetres(table: Table, _: random.Random) -> Rows:
    """The rain is in millimetres."""
    return table.change("precip", lambda text: f"{float(text) * 25.4:.2f}" if float(text) else text)


@fault("weather", "dew")
def temperature_and_dew_point_swapped(table: Table, _: random.Random) -> Rows:
    """The columns of temperature and dew point are swapped."""
    one, two = table.at["temp"], table.at["dewp"]
    changed = {number for number, row in enumerate(table.rows) if row[one] != row[two]}
    for number in changed:
        row = table.rows[number]
        row[one], row[two] = row[two], row[one]
    return changed


@fault("weather", "moves")
def sensor_stuck(table: Table, _: random.Random) -> Rows:
    """At one airport the sensor gives the same reading for two days."""
    rows = [number for number in table.where(origin="EWR") if table.rows[number][table.at["day"]] in ("11", "12")]
    for name in ("temp", "dewp"):
        for number in rows:
            table.rows[number][table.at[name]] = table.rows[rows[0]][table.at[name]]
    return set(rows)


@fault("weather", "no_jump")
def single_wild_readings(table: Table, rng: random.Random) -> Rows:
    """Three readings are wild, and possible in themselves."""
    return table.change("temp", lambda text: f"{float(text) - 45:.2f}", table.some(rng, 3, "temp"))


@fault("weather", "warm_afternoons")
def zone_shifted_by_half_a_day(table: Table, _: random.Random) -> Rows:
    """The readings stand twelve hours too late, days and hours agree."""
    reading = [table.at[name] for name in ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "pressure")]
    for origin in ("EWR", "JFK", "LGA"):
        rows = table.where(origin=origin)
        before = [list(table.rows[number]) for number in rows]
        for place, number in enumerate(rows):
            for each in reading:
                table.rows[number][each] = before[max(0, place - 12)][each]
    return None


@fault("weather", "one_reading")
def readings_twice(table: Table, rng: random.Random) -> Rows:
    """Some readings stand a second time, a little different."""
    first = len(table.rows)
    table.rows += [list(table.rows[number]) for number in table.some(rng, 40)]
    table.change("precip", lambda _: "0.01", range(first, len(table.rows)))
    return set(range(first, len(table.rows)))


@fault("weather", "no_gap")
def a_day_of_one_airport_lost(table: Table, _: random.Random) -> Rows:
    """One airport has no reading for a day; the row told is the first after the gap."""
    lost = set(table.where(origin="JFK", day="14"))
    after = min(number for number in table.where(origin="JFK") if number > max(lost))
    table.rows = [row for number, row in enumerate(table.rows) if number not in lost]
    return {after - len(lost)}


@fault("weather", "origin_as_before")
def an_airports_weather_lost(table: Table, _: random.Random) -> Rows:
    """One airport has no weather."""
    table.rows = [row for row in table.rows if row[table.at["origin"]] != "EWR"]
    return None


@fault("weather", "calm")
def calm_for_missing(table: Table, rng: random.Random) -> Rows:
    """Some winds that are not known are given as zero, with a direction."""
    rows = [n for n in table.some(rng, 90) if table.rows[n][table.at["wind_dir"]] not in ("0", "NA")]
    return table.change("wind_speed", lambda _: "0", rows)


@fault("planes", "tailnum unique")
def planes_registered_twice(table: Table, rng: random.Random) -> Rows:
    """Some planes stand in the register a second time, with other seats."""
    first = len(table.rows)
    table.rows += [list(table.rows[number]) for number in table.some(rng, 30)]
    table.change("seats", lambda text: str(int(text) + 1), range(first, len(table.rows)))
    return set(range(first, len(table.rows)))


@fault("planes", "one_model")
def seats_typed_wrong(table: Table, rng: random.Random) -> Rows:
    """Of some planes the seats are ten too many."""
    common = [n for n, model in enumerate(table.column("model")) if table.column("model").count(model) > 20]
    return table.change("seats", lambda text: str(int(text) + 10), rng.sample(common, 15))


@fault("planes", "year min")
def years_unknown_are_zero(table: Table, _: random.Random) -> Rows:
    """Years that are not known are zero."""
    place = table.at["year"]
    rows = {number for number, row in enumerate(table.rows) if row[place] == "NA"}
    for number in rows:
        table.rows[number][place] = "0"
    return rows


@fault("planes", "engine categories")
def names_of_engines_translated(table: Table, rng: random.Random) -> Rows:
    """Some engines have their name in another language."""
    return table.change("engine", lambda _: "Turboventilateur", table.some(rng, 25))


@fault("planes", "engines max")
def columns_of_numbers_swapped(table: Table, _: random.Random) -> Rows:
    """The columns of engines and seats are swapped."""
    one, two = table.at["engines"], table.at["seats"]
    for row in table.rows:
        row[one], row[two] = row[two], row[one]
    return {number for number, row in enumerate(table.rows) if row[one] != row[two]}
