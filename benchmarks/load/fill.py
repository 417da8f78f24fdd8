"""Fill a server's SQLite database directly: experiments of many runs, each with metrics and params; a long history."""

import sqlite3
import uuid

METRICS, PARAMS = 10, 10
#: Numbers of the runs that are written, beyond those that the server gave.
FIRST = 10_000_000


def _value(run, metric):
    """A value that looks random and is the same everywhere."""
    return ((run * 7919 + metric * 104729) % 1_000_003) / 1_000_003


def fill(server, sizes, points):
    """Write one experiment of each size and a run with `points` points; return {size: experiment id}, the run's id."""
    path = next(each for each in server.folder.rglob("*") if each.suffix in (".db", ".sqlite") and _has_runs(each))
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous = off", "cache_size = -400000", "foreign_keys = off"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("BEGIN")
    theirs = "run_uuid" in {row[1] for row in database.execute("PRAGMA table_info(runs)")}
    writer = (_Mlflow if theirs else _Mainspring)(database)
    first, experiments = 0, {}
    for number, size in enumerate(sizes, start=1001):
        writer.experiment(number, f"{number} of size {size}")
        experiments[size] = str(number)
        writer.runs(number, range(first, first + size))
        first += size
    long_run = writer.long(1001, first, points)
    database.execute("COMMIT")
    database.close()
    return experiments, long_run


def _has_runs(path):
    with sqlite3.connect(path) as database:
        return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'latest_metrics'").fetchall())


def _id(run):
    return uuid.UUID(int=run * 2654435761 + (1 << 100)).hex


class _Mlflow:
    def __init__(self, database):
        self.many = database.executemany

    def experiment(self, number, name):
        self.many(
            "INSERT INTO experiments VALUES (?, ?, ?, 'active', 1, 1, 'default')",
            [(number, name, f"mlflow-artifacts:/{number}")],
        )

    def runs(self, experiment, numbers):
        sql = (
            "INSERT INTO runs (run_uuid, name, source_type, status, start_time, end_time, lifecycle_stage,"
            " artifact_uri, experiment_id, user_id) VALUES (?, ?, 'UNKNOWN', 'FINISHED', ?, ?, 'active', ?, ?, 'u')"
        )
        self.many(
            sql,
            ((_id(n), f"run {n}", n, n + 1, f"mlflow-artifacts:/{experiment}/{_id(n)}", experiment) for n in numbers),
        )
        for metric in range(METRICS):
            key = f"m{metric}"
            self.many(
                "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, 1, 0, 0, ?)",
                ((key, _value(n, metric), _id(n)) for n in numbers),
            )
            self.many(
                "INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, 1, 0, 0, ?)",
                ((key, _value(n, metric), _id(n)) for n in numbers),
            )
        for param in range(PARAMS):
            self.many(
                "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
                ((f"p{param}", str(n % (param + 2)), _id(n)) for n in numbers),
            )

    def long(self, experiment, number, points):
        self.runs(experiment, [number])
        sql = "INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES ('long', ?, ?, ?, 0, ?)"
        self.many(sql, ((_value(n, 0), n, n, _id(number)) for n in range(points)))
        self.many("INSERT INTO latest_metrics VALUES ('long', 0, ?, ?, 0, ?)", [(points, points, _id(number))])
        return _id(number)


class _Mainspring:
    def __init__(self, database):
        self.database = database
        self.many = database.executemany
        self.metrics = {}

    def experiment(self, number, name):
        sql = "INSERT INTO experiments (experiment_id, name, stage, artifact_location, created_ms, updated_ms)"
        self.many(f"{sql} VALUES (?, ?, 'active', ?, 1, 1)", [(number, name, f"mlflow-artifacts:/{number}")])

    def _metric(self, key):
        if key not in self.metrics:
            self.database.execute("INSERT INTO metric_names (key) VALUES (?) ON CONFLICT DO NOTHING", (key,))
            sql = "SELECT metric FROM metric_names WHERE key = ?"
            self.metrics[key] = self.database.execute(sql, (key,)).fetchone()[0]
        return self.metrics[key]

    def runs(self, experiment, numbers):
        sql = (
            "INSERT INTO runs (number, run_id, experiment_id, name, status, stage, started_ms, ended_ms, author,"
            " artifact_uri) VALUES (?, ?, ?, ?, 'finished', 'active', ?, ?, 'u', ?)"
        )
        rows = (
            (n + FIRST, _id(n), experiment, f"run {n}", n, n + 1, f"mlflow-artifacts:/{experiment}/{_id(n)}")
            for n in numbers
        )
        self.many(sql, rows)
        ids = [self._metric(f"m{each}") for each in range(METRICS)]
        self.many(
            "INSERT INTO metric_points (run, metric, at_ms, step, value, is_nan) VALUES (?, ?, 1, 0, ?, 0)",
            ((n + FIRST, ids[m], _value(n, m)) for n in numbers for m in range(METRICS)),
        )
        self.many(
            "INSERT INTO latest_metrics (run, metric, experiment_id, value, is_nan, step, at_ms, low, high)"
            " VALUES (?, ?, ?, ?, 0, 0, 1, ?, ?)",
            ((n + FIRST, ids[m], experiment, *[_value(n, m)] * 3) for n in numbers for m in range(METRICS)),
        )
        self.many(
            "INSERT INTO run_parameters (run, key, value) VALUES (?, ?, ?)",
            ((n + FIRST, f"p{p}", str(n % (p + 2))) for n in numbers for p in range(PARAMS)),
        )

    def long(self, experiment, number, points):
        self.runs(experiment, [number])
        metric, run = self._metric("long"), number + FIRST
        self.many(
            "INSERT INTO metric_points (run, metric, at_ms, step, value, is_nan) VALUES (?, ?, ?, ?, ?, 0)",
            ((run, metric, n, n, _value(n, 0)) for n in range(points)),
        )
        self.many(
            "INSERT INTO latest_metrics (run, metric, experiment_id, value, is_nan, step, at_ms, low, high)"
            " VALUES (?, ?, ?, 0, 0, ?, ?, 0, 1)",
            [(run, metric, experiment, points, points)],
        )
        return _id(number)
