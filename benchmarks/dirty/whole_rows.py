"""Faults of whole rows of the flights: rows that come twice, come again, are lost, or belong to another table."""

import random

from dirty.planted import Rows, Table, fault

__all__: list[str] = []


@fault("flights", "one_flight")
def rows_twice(table: Table, rng: random.Random) -> Rows:
    """Some rows stand a second time at the end."""
    return _behind(table, [list(table.rows[number]) for number in table.some(rng, 275)])


@fault("flights", "one_flight")
def nearly_the_same_twice(table: Table, rng: random.Random) -> Rows:
    """Some flights stand a second time with another outcome."""
    again = [list(table.rows[number]) for number in table.some(rng, 100, "arr_delay")]
    for row in again:
        row[table.at["arr_delay"]] = str(int(row[table.at["arr_delay"]]) + 1440)
    return _behind(table, again)


@fault("flights", "new")
def last_months_file_again(table: Table, _: random.Random) -> Rows:
    """The file of the month before is delivered again."""
    assert table.earlier is not None
    table.rows = [list(row) for row in table.earlier.rows]
    return set(range(len(table.rows)))


@fault("flights", "new")
def days_that_came_before(table: Table, _: random.Random) -> Rows:
    """The last days of the month before are delivered again with this month."""
    assert table.earlier is not None
    return _behind(table, [list(row) for row in table.earlier.rows if int(row[table.at["day"]]) >= 30])


@fault("flights", "one_month")
def some_rows_of_another_month(table: Table, rng: random.Random) -> Rows:
    """Some rows are of another year's month that nobody has seen before."""
    rows = table.some(rng, 200)
    for number in rows:
        row = table.rows[number]
        row[table.at["month"]] = "11"
        row[table.at["time_hour"]] = row[table.at["time_hour"]].replace("-09-", "-11-").replace("-10-", "-12-")
    return set(rows)


@fault("flights", "every_day")
def a_day_is_lost(table: Table, _: random.Random) -> Rows:
    """One day is not in the file."""
    table.rows = [row for row in table.rows if row[table.at["day"]] != "17"]
    return None


@fault("flights", "full_day")
def most_of_a_day_is_lost(table: Table, rng: random.Random) -> Rows:
    """Of one day two thirds of the rows are not in the file."""
    day = table.at["day"]
    table.rows = [row for row in table.rows if row[day] != "17" or rng.random() < 1 / 3]
    return set(table.where(day="17"))


@fault("flights", "every_day")
def file_cut_at_the_end_of_a_line(table: Table, _: random.Random) -> Rows:
    """The last two fifths of the file are not there."""
    table.rows = table.rows[: len(table.rows) * 3 // 5]
    return None


@fault("flights", "min_rows")
def only_the_header_came(table: Table, _: random.Random) -> Rows:
    """There is a header and no row."""
    table.rows = []
    return None


@fault("flights", "min_rows")
def a_sample_came(table: Table, rng: random.Random) -> Rows:
    """Only one row in four came."""
    table.rows = [row for row in table.rows if rng.random() < 0.25]
    return None


@fault("flights", "max_rows")
def joined_to_many(table: Table, _: random.Random) -> Rows:
    """A join before has made three rows of each."""
    table.rows = [list(row) for row in table.rows for _ in range(3)]
    return None


@fault("flights", "origin_as_before")
def an_airport_is_lost(table: Table, _: random.Random) -> Rows:
    """The flights of one airport are not there."""
    table.rows = [row for row in table.rows if row[table.at["origin"]] != "LGA"]
    return None


@fault("flights", "some_cancelled")
def cancelled_flights_left_out(table: Table, _: random.Random) -> Rows:
    """Only flights that took place are there."""
    table.rows = [row for row in table.rows if row[table.at["dep_time"]] != "NA"]
    return None


@fault("flights", "hour_as_before")
def evening_lost(table: Table, _: random.Random) -> Rows:
    """Flights after six in the evening are not there."""
    table.rows = [row for row in table.rows if int(row[table.at["hour"]]) < 18]
    return None


@fault("flights", "distance_as_before")
def only_near_airports(table: Table, _: random.Random) -> Rows:
    """Only flights under a thousand miles are there, as if a filter had been left on."""
    table.rows = [row for row in table.rows if int(row[table.at["distance"]]) < 1000]
    return None


@fault("flights", "flight_as_before")
def flights_numbered_anew(table: Table, _: random.Random) -> Rows:
    """The numbers of the flights are counted from one."""
    place = table.at["flight"]
    changed = {number for number, row in enumerate(table.rows) if row[place] != str(number % 9999 + 1)}
    for number in changed:
        table.rows[number][place] = str(number % 9999 + 1)
    return changed


@fault("flights", "year type")
def header_in_the_middle(table: Table, _: random.Random) -> Rows:
    """Two files were put behind each other, headers and all."""
    middle = len(table.rows) // 2
    table.rows.insert(middle, list(table.names))
    return {middle}


@fault("flights", "carrier categories")
def a_line_of_totals(table: Table, _: random.Random) -> Rows:
    """The last line is a line of totals."""
    total = ["2013", "9", "30", *["NA"] * 16]
    total[table.at["carrier"]] = "TOTAL"
    return _behind(table, [total])


# columns as a whole


@fault("flights", "arr_delay present")
def column_renamed(table: Table, _: random.Random) -> Rows:
    """A column has another name."""
    table.names[table.at["arr_delay"]] = "arrival_delay"
    return None


@fault("flights", "tailnum present")
def column_lost(table: Table, _: random.Random) -> Rows:
    """A column is not there."""
    place = table.at["tailnum"]
    for row in (table.names, *table.rows):
        del row[place]
    return None


@fault("flights", "Unnamed: 0 others")
def index_written_too(table: Table, _: random.Random) -> Rows:
    """The numbers of the rows were written as a column."""
    table.names.insert(0, "Unnamed: 0")
    for number, row in enumerate(table.rows):
        row.insert(0, str(number))
    return None


@fault("flights", "distance_1 others")
def column_twice(table: Table, _: random.Random) -> Rows:
    """A column stands there twice."""
    place = table.at["distance"]
    for row in (table.names, *table.rows):
        row.append(row[place])
    return None


@fault("flights", "year present")
def no_header(table: Table, _: random.Random) -> Rows:
    """The file begins with its first row."""
    table.names = table.rows.pop(0)
    return None


def _behind(table: Table, rows: list[list[str]]) -> Rows:
    first = len(table.rows)
    table.rows += rows
    return set(range(first, len(table.rows)))
