"""The tables of a team: tracking by numbers, users, webhooks, quarantine, logged models."""

from datetime import UTC, datetime

from mainspring.domain.moments import from_iso, to_milliseconds
from mainspring.store.protocol import Transaction

__all__ = ["FROM_0014"]


def m0014_reshape_tracking(transaction: Transaction) -> None:
    """Experiments get ids, and runs the fields that MLflow's clients know; owned by `tracking`.

    Runs and metric names are numbered, so that a point is small and lies beside the others of its run and metric. Times
    are whole Unix milliseconds, as on the wire. The latest value of each metric carries its experiment: ordering runs
    by a metric walks an index. SQLite has no NaN, hence `is_nan`.
    """
    runs = transaction.execute(
        "SELECT run_id, experiment, name, status, started_at, ended_at FROM runs ORDER BY started_at, run_id"
    )
    kept = {
        table: transaction.execute(f"SELECT * FROM {table}")
        for table in ("run_parameters", "run_tags", "metric_points", "latest_metrics")
    }
    for table in (*kept, "runs"):
        transaction.execute(f"DROP TABLE {table}")
    transaction.execute(
        """CREATE TABLE experiments (
            experiment_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, stage TEXT NOT NULL,
            artifact_location TEXT NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL)"""
    )
    transaction.execute(
        """CREATE TABLE experiment_tags (
            experiment_id INTEGER NOT NULL REFERENCES experiments, key TEXT NOT NULL, value TEXT NOT NULL,
            PRIMARY KEY (experiment_id, key))"""
    )
    transaction.execute(
        """CREATE TABLE runs (
            number INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, experiment_id INTEGER NOT NULL REFERENCES
            experiments, name TEXT NOT NULL, status TEXT NOT NULL, stage TEXT NOT NULL, started_ms INTEGER NOT NULL,
            ended_ms INTEGER, deleted_ms INTEGER, author TEXT NOT NULL, artifact_uri TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX runs_by_experiment ON runs (experiment_id, stage, started_ms, run_id)")
    transaction.execute(
        """CREATE TABLE run_parameters (
            run INTEGER NOT NULL REFERENCES runs, key TEXT NOT NULL, value TEXT NOT NULL,
            PRIMARY KEY (run, key)) WITHOUT ROWID"""
    )
    transaction.execute(
        """CREATE TABLE run_tags (
            run INTEGER NOT NULL REFERENCES runs, key TEXT NOT NULL, value TEXT NOT NULL,
            PRIMARY KEY (run, key)) WITHOUT ROWID"""
    )
    transaction.execute("CREATE TABLE metric_names (metric INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE)")
    transaction.execute(
        """CREATE TABLE metric_points (
            run INTEGER NOT NULL REFERENCES runs, metric INTEGER NOT NULL, at_ms INTEGER NOT NULL,
            step INTEGER NOT NULL, value REAL NOT NULL, is_nan INTEGER NOT NULL,
            PRIMARY KEY (run, metric, at_ms, step, value, is_nan)) WITHOUT ROWID"""
    )
    transaction.execute(
        """CREATE TABLE latest_metrics (
            run INTEGER NOT NULL REFERENCES runs, metric INTEGER NOT NULL, experiment_id INTEGER NOT NULL,
            value REAL NOT NULL, is_nan INTEGER NOT NULL, step INTEGER NOT NULL, at_ms INTEGER NOT NULL,
            low REAL, high REAL, PRIMARY KEY (run, metric)) WITHOUT ROWID"""
    )
    transaction.execute(
        "CREATE INDEX latest_metrics_by_value ON latest_metrics (experiment_id, metric, is_nan, value, run)"
    )
    now = to_milliseconds(datetime.now(UTC))
    names = ["Default", *dict.fromkeys(row[1] for row in runs if row[1] != "Default")]
    transaction.execute_many(
        "INSERT INTO experiments (experiment_id, name, stage, artifact_location, created_ms, updated_ms)"
        " VALUES (?, ?, 'active', ?, ?, ?)",
        [(number, name, f"mlflow-artifacts:/{number}", now, now) for number, name in enumerate(names)],
    )
    of_name = {name: number for number, name in enumerate(names)}
    of_run = {row[0]: number for number, row in enumerate(runs, start=1)}
    transaction.execute_many(
        "INSERT INTO runs (number, run_id, experiment_id, name, status, stage, started_ms, ended_ms, author,"
        " artifact_uri) VALUES (?, ?, ?, ?, ?, 'active', ?, ?, '', ?)",
        [
            (
                of_run[run_id],
                run_id,
                of_name[experiment],
                name,
                status,
                to_milliseconds(from_iso(started_at)),
                None if ended_at is None else to_milliseconds(from_iso(ended_at)),
                f"mlflow-artifacts:/{of_name[experiment]}/{run_id}/artifacts",
            )
            for run_id, experiment, name, status, started_at, ended_at in runs
        ],
    )
    for table in ("run_parameters", "run_tags"):
        transaction.execute_many(
            f"INSERT INTO {table} (run, key, value) VALUES (?, ?, ?)",
            [(of_run[run_id], key, value) for run_id, key, value in kept[table]],
        )
    keys = {key: number for number, key in enumerate(dict.fromkeys(row[1] for row in kept["metric_points"]), start=1)}
    transaction.execute_many(
        "INSERT INTO metric_names (metric, key) VALUES (?, ?)", [(number, key) for key, number in keys.items()]
    )
    transaction.execute_many(
        "INSERT INTO metric_points (run, metric, at_ms, step, value, is_nan) VALUES (?, ?, ?, ?, ?, 0)"
        " ON CONFLICT DO NOTHING",
        [
            (of_run[run_id], keys[key], to_milliseconds(from_iso(at)), step, v)
            for run_id, key, step, at, v in kept["metric_points"]
        ],
    )
    experiment_of = {row[0]: of_name[row[1]] for row in runs}
    transaction.execute_many(
        "INSERT INTO latest_metrics (run, metric, experiment_id, value, is_nan, step, at_ms, low, high)"
        " SELECT ?, ?, ?, ?, 0, ?, max(at_ms), min(value), max(value) FROM metric_points WHERE run = ? AND metric = ?",
        [
            (of_run[run_id], keys[key], experiment_of[run_id], value, step, of_run[run_id], keys[key])
            for run_id, key, value, step in kept["latest_metrics"]
        ],
    )


def m0015_add_access(transaction: Transaction) -> None:
    """Users, their tokens, and the roles that people wrote; owned by `access`."""
    transaction.execute(
        """CREATE TABLE users (
            name TEXT PRIMARY KEY, password TEXT NOT NULL, roles TEXT NOT NULL, is_sso INTEGER NOT NULL,
            is_active INTEGER NOT NULL, created_at TEXT NOT NULL, created_by TEXT NOT NULL)"""
    )
    transaction.execute(
        """CREATE TABLE tokens (
            token_id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
            scope TEXT NOT NULL, created_at TEXT NOT NULL, created_by TEXT NOT NULL, expires_at TEXT,
            revoked_at TEXT)"""
    )
    transaction.execute(
        """CREATE TABLE roles (
            name TEXT PRIMARY KEY, grants TEXT NOT NULL, made_by TEXT NOT NULL, made_at TEXT NOT NULL)"""
    )


def m0016_add_log_journals(transaction: Transaction) -> None:
    """How far the log journal of each run was kept; owned by `tracking.batches`."""
    transaction.execute(
        """CREATE TABLE log_journals (
            journal TEXT PRIMARY KEY, run_id TEXT NOT NULL, offset_bytes INTEGER NOT NULL)"""
    )
    transaction.execute("CREATE INDEX log_journals_by_run ON log_journals (run_id)")


def m0017_add_webhooks(transaction: Transaction) -> None:
    """News to tell, who is told, and what came of it; owned by `store.outbox` (news) and `notify`."""
    transaction.execute(
        "CREATE TABLE news (number INTEGER PRIMARY KEY, verb TEXT NOT NULL, data TEXT NOT NULL, at TEXT NOT NULL)"
    )
    transaction.execute("CREATE TABLE news_cursors (source TEXT PRIMARY KEY, number INTEGER NOT NULL)")
    transaction.execute(
        """CREATE TABLE webhooks (
            webhook_id TEXT PRIMARY KEY, name TEXT NOT NULL, url TEXT NOT NULL, events TEXT NOT NULL,
            description TEXT NOT NULL, status TEXT NOT NULL, threshold TEXT NOT NULL, since INTEGER NOT NULL,
            secret TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, created_by TEXT NOT NULL)"""
    )
    transaction.execute(
        """CREATE TABLE deliveries (
            delivery_id TEXT PRIMARY KEY, webhook_id TEXT NOT NULL, event TEXT NOT NULL, payload TEXT NOT NULL,
            status TEXT NOT NULL, attempts INTEGER NOT NULL, created_at TEXT NOT NULL, next_at TEXT NOT NULL,
            settled_at TEXT, response_status INTEGER, error TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX deliveries_by_due ON deliveries (status, next_at)")
    transaction.execute("CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, created_at)")
    transaction.execute(
        "CREATE TABLE crossings (webhook_id TEXT NOT NULL, run_id TEXT NOT NULL, PRIMARY KEY (webhook_id, run_id))"
    )


def m0018_add_quarantine(transaction: Transaction) -> None:
    """How each ingested file was dealt, and which rows people let out of quarantine; owned by `data.quarantine`."""
    transaction.execute(
        """CREATE TABLE ingestions (
            name TEXT NOT NULL, number INTEGER NOT NULL, version INTEGER NOT NULL, source TEXT NOT NULL,
            original TEXT NOT NULL, set_aside TEXT, n_ingested INTEGER NOT NULL, n_accepted INTEGER NOT NULL,
            n_set_aside INTEGER NOT NULL, effects TEXT NOT NULL, created_at TEXT NOT NULL,
            PRIMARY KEY (name, number))"""
    )
    transaction.execute(
        """CREATE TABLE quarantine_releases (
            name TEXT NOT NULL, number INTEGER NOT NULL, place INTEGER NOT NULL, version INTEGER NOT NULL,
            released_by TEXT NOT NULL, reason TEXT NOT NULL, released_at TEXT NOT NULL,
            PRIMARY KEY (name, number, place))"""
    )


def m0019_add_logged_models(transaction: Transaction) -> None:
    """What runs read and made, logged models, and files by their paths; owned by `tracking`.

    The indexes of parameters and tags hold the beginning of each value: Postgres cannot index long ones whole.
    """
    for table in ("run_parameters", "run_tags"):
        transaction.execute(f"CREATE INDEX {table}_by_value ON {table} (key, substr(value, 1, 64), run)")
    transaction.execute(
        """CREATE TABLE input_datasets (
            number INTEGER PRIMARY KEY, experiment_id INTEGER NOT NULL REFERENCES experiments, name TEXT NOT NULL,
            digest TEXT NOT NULL, source_type TEXT NOT NULL, source TEXT NOT NULL, schema TEXT, profile TEXT,
            UNIQUE (experiment_id, name, digest))"""
    )
    transaction.execute(
        """CREATE TABLE run_inputs (
            run INTEGER NOT NULL REFERENCES runs, dataset INTEGER NOT NULL REFERENCES input_datasets,
            tags TEXT NOT NULL, context TEXT, PRIMARY KEY (run, dataset)) WITHOUT ROWID"""
    )
    transaction.execute("CREATE INDEX run_inputs_by_dataset ON run_inputs (dataset)")
    transaction.execute(
        """CREATE TABLE run_models (
            run INTEGER NOT NULL REFERENCES runs, role TEXT NOT NULL, model_id TEXT NOT NULL, step INTEGER,
            PRIMARY KEY (run, role, model_id)) WITHOUT ROWID"""
    )
    transaction.execute(
        """CREATE TABLE logged_models (
            model_id TEXT PRIMARY KEY, experiment_id INTEGER NOT NULL REFERENCES experiments, name TEXT NOT NULL,
            status TEXT NOT NULL, stage TEXT NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,
            model_type TEXT NOT NULL, source_run TEXT NOT NULL, artifact_uri TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX logged_models_by_experiment ON logged_models (experiment_id, created_ms)")
    for table in ("logged_model_parameters", "logged_model_tags"):
        transaction.execute(
            f"""CREATE TABLE {table} (
                model_id TEXT NOT NULL REFERENCES logged_models, key TEXT NOT NULL, value TEXT NOT NULL,
                PRIMARY KEY (model_id, key)) WITHOUT ROWID"""
        )
    transaction.execute(
        """CREATE TABLE logged_model_metrics (
            model_id TEXT NOT NULL REFERENCES logged_models, key TEXT NOT NULL, at_ms INTEGER NOT NULL,
            step INTEGER NOT NULL, run_id TEXT NOT NULL, value REAL NOT NULL, is_nan INTEGER NOT NULL,
            dataset_name TEXT, dataset_digest TEXT, PRIMARY KEY (model_id, key, at_ms, step, run_id)) WITHOUT ROWID"""
    )
    transaction.execute(
        """CREATE TABLE logged_files (
            path TEXT PRIMARY KEY, digest TEXT NOT NULL, size_bytes INTEGER NOT NULL, at_ms INTEGER NOT NULL)"""
    )
    transaction.execute("CREATE INDEX logged_files_by_digest ON logged_files (digest)")
    transaction.execute(
        """CREATE TABLE uploads (
            upload_id TEXT PRIMARY KEY, path TEXT NOT NULL, begun_ms INTEGER NOT NULL)"""
    )
    transaction.execute(
        """CREATE TABLE upload_parts (
            upload_id TEXT NOT NULL REFERENCES uploads, part INTEGER NOT NULL, digest TEXT NOT NULL,
            size_bytes INTEGER NOT NULL, PRIMARY KEY (upload_id, part)) WITHOUT ROWID"""
    )


def m0020_add_segment_counts(transaction: Transaction) -> None:
    """What each sealed segment holds, by hour, counted into the bins of its version's profile."""
    transaction.execute(
        """CREATE TABLE segment_counts (
            path TEXT NOT NULL, hour TEXT NOT NULL, counts TEXT NOT NULL, PRIMARY KEY (path, hour)) WITHOUT ROWID"""
    )


def m0021_add_silences(transaction: Transaction) -> None:
    """Which incidents nobody is told of, for how long and why; owned by `monitor.silences`."""
    transaction.execute(
        """CREATE TABLE silences (
            silence_id TEXT PRIMARY KEY, pattern TEXT NOT NULL, author TEXT NOT NULL, reason TEXT NOT NULL,
            starts_at TEXT NOT NULL, ends_at TEXT NOT NULL)"""
    )


def m0022_add_duties(transaction: Transaction) -> None:
    """What a schedule does: run a target, look at production, or keep house; owned by `pipeline.schedules`."""
    transaction.execute("ALTER TABLE schedules ADD COLUMN duty TEXT NOT NULL DEFAULT 'run'")


def m0023_add_dataset_tags(transaction: Transaction) -> None:
    """Names of single dataset versions; owned by `data.version_tags`."""
    transaction.execute(
        """CREATE TABLE dataset_tags (
            name TEXT NOT NULL, tag TEXT NOT NULL, version INTEGER NOT NULL, tagged_at TEXT NOT NULL,
            PRIMARY KEY (name, tag)) WITHOUT ROWID"""
    )


def m0024_add_reviews(transaction: Transaction) -> None:
    """What people said came true of predictions they were asked about; owned by `loop.review`."""
    transaction.execute(
        """CREATE TABLE reviews (
            prediction_id TEXT PRIMARY KEY, model TEXT NOT NULL, version INTEGER NOT NULL, kind TEXT NOT NULL,
            label TEXT NOT NULL, reviewer TEXT NOT NULL, comment TEXT NOT NULL, answered_at TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX reviews_by_model ON reviews (model, answered_at)")


def m0025_add_log_gaps(transaction: Transaction) -> None:
    """Requests that were refused because the prediction log could not be written; owned by `predictions.gaps`."""
    transaction.execute(
        """CREATE TABLE log_gaps (
            number INTEGER PRIMARY KEY, model TEXT NOT NULL, first_at TEXT NOT NULL, last_at TEXT NOT NULL,
            requests INTEGER NOT NULL, n_rows INTEGER NOT NULL, reason TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX log_gaps_by_model ON log_gaps (model, last_at)")


def m0026_add_quiet(transaction: Transaction) -> None:
    """Why nobody is told of an incident, settled when it opens; owned by `monitor.incidents`."""
    transaction.execute("ALTER TABLE incidents ADD COLUMN quiet TEXT NOT NULL DEFAULT ''")


def m0027_add_served_hours(transaction: Transaction) -> None:
    """Requests by hour, outcome and latency; owned by `predictions.hours`."""
    transaction.execute(
        """CREATE TABLE served_hours (
            model TEXT NOT NULL, hour TEXT NOT NULL, outcome TEXT NOT NULL, latency_bin INTEGER NOT NULL,
            requests INTEGER NOT NULL, PRIMARY KEY (model, hour, outcome, latency_bin)) WITHOUT ROWID"""
    )


def m0028_add_dataset_terms(transaction: Transaction) -> None:
    """Under which terms dataset versions may be used, and until when; owned by `data.version_terms`."""
    transaction.execute(
        """CREATE TABLE dataset_terms (
            name TEXT NOT NULL, version INTEGER NOT NULL, terms TEXT NOT NULL, ends_at TEXT, removed_at TEXT,
            set_at TEXT NOT NULL, PRIMARY KEY (name, version))"""
    )


def m0029_add_origins(transaction: Transaction) -> None:
    """Where the rows of a dataset version came from, as JSON; owned by `data.versions`."""
    transaction.execute("ALTER TABLE dataset_versions ADD COLUMN origin TEXT")


#: Append only. A released migration is never edited: add another.
FROM_0014 = (
    m0014_reshape_tracking,
    m0015_add_access,
    m0016_add_log_journals,
    m0017_add_webhooks,
    m0018_add_quarantine,
    m0019_add_logged_models,
    m0020_add_segment_counts,
    m0021_add_silences,
    m0022_add_duties,
    m0023_add_dataset_tags,
    m0024_add_reviews,
    m0025_add_log_gaps,
    m0026_add_quiet,
    m0027_add_served_hours,
    m0028_add_dataset_terms,
    m0029_add_origins,
)
