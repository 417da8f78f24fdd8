"""Faults in the cells of the flights: units, codes, clocks, swapped columns, gaps and what stands for them."""

import random
from datetime import datetime, timedelta

from dirty.planted import Rows, Table, fault

__all__: list[str] = []

#  units


@fault("flights", "same_length")
def distance_in_kilometres(table: Table, _: random.Random) -> Rows:
    """All distances are in kilometres."""
    return table.change("distance", lambda text: str(round(int(text) * 1.609344)))


@fault("flights", "same_length")
def one_carrier_in_kilometres(table: Table, _: random.Random) -> Rows:
    """One carrier gives its distances in kilometres."""
    return table.change("distance", lambda text: str(round(int(text) * 1.609344)), table.where(carrier="EV"))


@fault("flights", "distance_as_before")
def distance_in_nautical_miles(table: Table, _: random.Random) -> Rows:
    """All distances are in nautical miles."""
    return table.change("distance", lambda text: str(round(int(text) / 1.150779)))


@fault("flights", "air_time max")
def air_time_in_seconds(table: Table, rng: random.Random) -> Rows:
    """Some times in the air are in seconds."""
    return table.change("air_time", lambda text: str(int(text) * 60), table.some(rng, 300, "air_time"))


@fault("flights", "air_time type")
def air_time_in_hours(table: Table, _: random.Random) -> Rows:
    """One carrier gives its times in the air in hours."""
    return table.change("air_time", lambda text: f"{int(text) / 60:.2f}", table.where(carrier="UA"))


@fault("flights", "departs_on_the_clock")
def delay_in_seconds(table: Table, rng: random.Random) -> Rows:
    """Some delays are in seconds."""
    rows = [number for number in table.some(rng, 600, "dep_delay") if abs(int(table.rows[number][5])) < 40]
    return table.change("dep_delay", lambda text: str(int(text) * 60), rows)


# signs, scales and typing errors


@fault("flights", "arrives_on_the_clock")
def sign_of_the_delay_lost(table: Table, rng: random.Random) -> Rows:
    """Early arrivals became late ones."""
    return table.change("arr_delay", lambda text: text.lstrip("-"), table.some(rng, 500, "arr_delay"))


@fault("flights", "distance min")
def negative_distance(table: Table, rng: random.Random) -> Rows:
    """A few distances are negative."""
    return table.change("distance", lambda text: "-" + text, table.some(rng, 12))


@fault("flights", "departs_on_the_clock")
def digits_typed_twice(table: Table, rng: random.Random) -> Rows:
    """Of a few delays the digits were typed twice."""
    rows = [n for n in table.some(rng, 60, "dep_delay") if 10 <= int(table.rows[n][5]) <= 28]
    return table.change("dep_delay", lambda text: text * 2, rows)


@fault("flights", "arrives_on_the_clock")
def digits_turned(table: Table, rng: random.Random) -> Rows:
    """Of a few times of arrival the last two digits are turned around."""
    rows = table.some(rng, 60, "arr_time")
    return table.change("arr_time", lambda t: t[:-2] + t[-1] + t[-2] if len(t) > 2 and t[-1] < "6" else t, rows)


@fault("flights", "distance type")
def thousands_separated(table: Table, _: random.Random) -> Rows:
    """Distances are written as 1,400."""
    return table.change("distance", lambda text: f"{int(text):,}")


@fault("flights", "flight type")
def letter_for_a_digit(table: Table, rng: random.Random) -> Rows:
    """In a few flight numbers the letter O stands for a zero."""
    return table.change("flight", lambda text: text.replace("0", "O"), table.some(rng, 80))


# clocks and zones


@fault("flights", "local_hour")
def local_time_named_utc(table: Table, _: random.Random) -> Rows:
    """The moments are local time, and say that they are UTC."""
    return table.change("time_hour", lambda text: _moved(text, -4))


@fault("flights", "local_hour")
def clock_not_put_forward(table: Table, _: random.Random) -> Rows:
    """One airport's moments miss summer time."""
    return table.change("time_hour", lambda text: _moved(text, 1), table.where(origin="JFK"))


@fault("flights", "sched_dep_time_as_before")
def whole_schedule_in_utc(table: Table, _: random.Random) -> Rows:
    """Times, hours and days are all in UTC, and so agree with each other."""
    for row in table.rows:
        at = table.at
        hour = int(row[at["hour"]]) + 4
        if hour >= 24:
            row[at["day"]] = str(int(row[at["day"]]) + 1)
        row[at["hour"]] = str(hour % 24)
        for name in ("dep_time", "sched_dep_time", "arr_time", "sched_arr_time"):
            if row[at[name]] not in ("", "NA"):
                row[at[name]] = str((int(row[at[name]]) + 400) % 2400)
        row[at["time_hour"]] = _moved(row[at["time_hour"]], 4)
    table.rows = [row for row in table.rows if int(row[table.at["day"]]) <= 30]
    return set(range(len(table.rows)))


@fault("flights", "local_day")
def day_and_month_swapped(table: Table, _: random.Random) -> Rows:
    """Days up to the twelfth were read as months."""
    day, month = table.at["day"], table.at["month"]
    changed = set()
    for number, row in enumerate(table.rows):
        if int(row[day]) <= 12 and row[day] != row[month]:
            row[day], row[month] = row[month], row[day]
            changed.add(number)
    return changed


@fault("flights", "year min")
def year_of_two_digits(table: Table, rng: random.Random) -> Rows:
    """Some years have two digits."""
    return table.change("year", lambda text: text[2:], table.some(rng, 200))


@fault("flights", "local_day")
def moments_never_set(table: Table, rng: random.Random) -> Rows:
    """Some moments are the beginning of 1970."""
    return table.change("time_hour", lambda _: "1970-01-01T00:00:00Z", table.some(rng, 50))


@fault("flights", "time_hour type")
def moments_in_another_form(table: Table, rng: random.Random) -> Rows:
    """Some moments are written as 09/30/2013 6:00."""
    rows = table.some(rng, 400)
    return table.change("time_hour", lambda t: f"{t[5:7]}/{t[8:10]}/{t[:4]} {int(t[11:13])}:00", rows)


@fault("flights", "dep_time type")
def times_with_a_colon(table: Table, rng: random.Random) -> Rows:
    """Some times are written as 5:17."""
    rows = table.some(rng, 400, "dep_time")
    return table.change("dep_time", lambda text: f"{int(text) // 100}:{int(text) % 100:02}", rows)


@fault("flights", "departs_on_the_clock")
def clock_of_twelve_hours(table: Table, _: random.Random) -> Rows:
    """Times of departure in the afternoon lost their twelve hours."""
    return table.change("dep_time", lambda text: str(int(text) - 1200) if int(text) >= 1300 else text)


@fault("flights", "arrives_on_the_clock")
def minutes_of_the_day(table: Table, rng: random.Random) -> Rows:
    """Some times are minutes since midnight instead of hours and minutes."""
    rows = table.some(rng, 500, "arr_time")
    return table.change("arr_time", lambda text: str(int(text) // 100 * 60 + int(text) % 100), rows)


@fault("flights", "clock")
def clock_past_sixty(table: Table, rng: random.Random) -> Rows:
    """Some times have more than 59 minutes."""
    rows = table.some(rng, 40, "arr_time")
    return table.change("arr_time", lambda text: str(int(text) // 100 * 100 + 60 + int(text) % 40), rows)


@fault("flights", "minute_as_before")
def times_rounded_to_the_hour(table: Table, _: random.Random) -> Rows:
    """The schedule is rounded to the hour, and everything else agrees with it."""
    at = table.at
    changed = set()
    for number, row in enumerate(table.rows):
        late = int(row[at["minute"]])
        if late:
            row[at["minute"]], row[at["sched_dep_time"]] = "0", str(int(row[at["hour"]]) * 100)
            if row[at["dep_delay"]] != "NA":
                row[at["dep_delay"]] = str(int(row[at["dep_delay"]]) + late)
            changed.add(number)
    return changed


# what stands for a missing value, and what is missing


@fault("flights", "air_time max")
def nines_for_missing(table: Table, _: random.Random) -> Rows:
    """Missing times in the air are 9999."""
    return _for_missing(table, "air_time", "9999")


@fault("flights", "dep_delay min")
def minus_nines_for_missing(table: Table, _: random.Random) -> Rows:
    """Missing delays are -999."""
    return _for_missing(table, "dep_delay", "-999")


@fault("flights", "dep_time min")
def zero_for_missing(table: Table, _: random.Random) -> Rows:
    """Missing times of departure are zero."""
    return _for_missing(table, "dep_time", "0")


@fault("flights", "arr_time type")
def words_for_missing(table: Table, _: random.Random) -> Rows:
    """Missing times of arrival are n/a."""
    return _for_missing(table, "arr_time", "n/a")


@fault("flights", "tailnum pattern")
def dash_for_missing(table: Table, _: random.Random) -> Rows:
    """Missing tail numbers are a dash."""
    return _for_missing(table, "tailnum", "-")


@fault("flights", "tailnum most_missing")
def tail_numbers_lost(table: Table, rng: random.Random) -> Rows:
    """A tenth of the tail numbers is missing."""
    return table.change("tailnum", lambda _: "NA", table.some(rng, len(table.rows) // 10))


@fault("flights", "never_landed")
def outcomes_lost_when_late(table: Table, rng: random.Random) -> Rows:
    """Outcomes of some very late flights are missing."""
    late = [n for n, text in enumerate(table.column("arr_delay")) if text != "NA" and int(text) > 90]
    return table.change("arr_delay", lambda _: "NA", rng.sample(late, 200))


@fault("flights", "never_left")
def landed_without_leaving(table: Table, rng: random.Random) -> Rows:
    """Some flights have an arrival and no departure."""
    return table.change("dep_time", lambda _: "NA", table.some(rng, 30, "arr_time"))


@fault("flights", "carrier nullable")
def carriers_lost(table: Table, rng: random.Random) -> Rows:
    """A few rows have no carrier."""
    return table.change("carrier", lambda _: "", table.some(rng, 9))


# codes


@fault("flights", "carrier categories")
def names_for_codes(table: Table, _: random.Random) -> Rows:
    """One carrier is called by its name."""
    return table.change("carrier", lambda _: "American", table.where(carrier="AA"))


@fault("flights", "carrier categories")
def codes_in_small_letters(table: Table, rng: random.Random) -> Rows:
    """Some codes are in small letters."""
    return table.change("carrier", str.lower, table.some(rng, 100))


@fault("flights", "carrier categories")
def codes_with_a_blank(table: Table, rng: random.Random) -> Rows:
    """Some codes have a blank behind them."""
    return table.change("carrier", lambda text: text + " ", table.some(rng, 100))


@fault("flights", "origin categories")
def letters_that_look_alike(table: Table, rng: random.Random) -> Rows:
    """In some codes a Cyrillic letter stands for one that looks the same."""
    return table.change("origin", lambda text: text.replace("E", "\u0415"), table.some(rng, 100))


@fault("flights", "dest pattern")
def codes_of_another_system(table: Table, rng: random.Random) -> Rows:
    """Some airports have the code of another system."""
    return table.change("dest", lambda text: "K" + text, table.some(rng, 150))


@fault("flights", "carrier categories")
def code_taken_for_a_number(table: Table, _: random.Random) -> Rows:
    """A spreadsheet took the carrier 9E for a number."""
    return table.change("carrier", lambda _: "9.00E+00", table.where(carrier="9E"))


@fault("flights", "tailnum pattern")
def encoded_twice(table: Table, rng: random.Random) -> Rows:
    """Some tail numbers end in a letter that was encoded twice."""
    return table.change("tailnum", lambda text: text[:-1] + "\u00c3\u0089", table.some(rng, 20, "tailnum"))


@fault("flights", "carrier_as_before")
def carriers_merged(table: Table, _: random.Random) -> Rows:
    """One carrier's flights are under the code of another."""
    return table.change("carrier", lambda _: "AA", table.where(carrier="US"))


@fault("flights", "known_plane")
def planes_nobody_knows(table: Table, rng: random.Random) -> Rows:
    """A third of the tail numbers are of no plane in the register."""
    rows = table.some(rng, len(table.rows) // 3, "tailnum")
    return table.change("tailnum", lambda text: "N0" + text[-3:], rows)


# swapped and misaligned columns


@fault("flights", "origin categories")
def origin_and_destination_swapped(table: Table, _: random.Random) -> Rows:
    """The columns of origin and destination are swapped."""
    return _swapped(table, "origin", "dest")


@fault("flights", "schedule")
def planned_and_real_departure_swapped(table: Table, _: random.Random) -> Rows:
    """The columns of the planned and the real departure are swapped."""
    return _swapped(table, "sched_dep_time", "dep_time")


@fault("flights", "departs_on_the_clock")
def delays_swapped(table: Table, _: random.Random) -> Rows:
    """The columns of both delays are swapped."""
    return _swapped(table, "dep_delay", "arr_delay")


@fault("flights", "schedule")
def hours_and_minutes_swapped(table: Table, rng: random.Random) -> Rows:
    """In some rows hour and minute are swapped."""
    minute = table.at["minute"]
    rows = [number for number in table.some(rng, 600) if int(table.rows[number][minute]) < 24]
    return _swapped(table, "hour", "minute", rows)


@fault("flights", "speed")
def distance_and_air_time_swapped(table: Table, rng: random.Random) -> Rows:
    """In some rows distance and time in the air are swapped."""
    return _swapped(table, "distance", "air_time", table.some(rng, 300, "air_time"))


@fault("flights", "flight type")
def flight_and_tail_number_swapped(table: Table, _: random.Random) -> Rows:
    """The columns of flight and tail number are swapped."""
    return _swapped(table, "flight", "tailnum")


@fault("flights", "same_length")
def column_shuffled(table: Table, rng: random.Random) -> Rows:
    """The distances stand beside other flights."""
    place = table.at["distance"]
    before = table.column("distance")
    for row, text in zip(table.rows, rng.sample(before, len(before)), strict=True):
        row[place] = text
    return {number for number, row in enumerate(table.rows) if row[place] != before[number]}


@fault("flights", "arrives_on_the_clock")
def column_one_row_too_low(table: Table, _: random.Random) -> Rows:
    """The delays of arrival stand one row too low."""
    place = table.at["arr_delay"]
    before = table.column("arr_delay")
    for number in range(1, len(before)):
        table.rows[number][place] = before[number - 1]
    return {n for n in range(1, len(before)) if before[n - 1] != before[n]}


@fault("flights", "air_time_as_before")
def one_value_everywhere(table: Table, _: random.Random) -> Rows:
    """All times in the air are the same."""
    return table.change("air_time", lambda _: "128")


def _moved(moment: str, hours: int) -> str:
    return (datetime.fromisoformat(moment) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _for_missing(table: Table, name: str, text: str) -> Rows:
    place = table.at[name]
    rows = [number for number, row in enumerate(table.rows) if row[place] in ("", "NA")]
    for number in rows:
        table.rows[number][place] = text
    return set(rows)


def _swapped(table: Table, one: str, two: str, rows: list[int] | None = None) -> Rows:
    a, b = table.at[one], table.at[two]
    changed = set()
    for number in range(len(table.rows)) if rows is None else rows:
        row = table.rows[number]
        if row[a] != row[b]:
            row[a], row[b] = row[b], row[a]
            changed.add(number)
    return changed
