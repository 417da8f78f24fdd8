"""The tables of the loop: events, steps, runs, datasets, versions, predictions, deployments, schedules."""

import json

from mainspring.store.protocol import Transaction

__all__ = ["FROM_0001"]


def m0001_add_events(transaction: Transaction) -> None:
    """The audit chain; owned by `store.events`."""
    transaction.execute(
        """CREATE TABLE events (
            number INTEGER PRIMARY KEY, at TEXT NOT NULL, recorded_at TEXT NOT NULL, actor TEXT NOT NULL,
            verb TEXT NOT NULL, subject TEXT NOT NULL, details TEXT NOT NULL, hash TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX events_by_subject ON events (subject, number)")


def m0002_add_pipeline(transaction: Transaction) -> None:
    """Kept step results, the steps of each run, and digests of files by their stamps; owned by `pipeline.ledger`."""
    transaction.execute(
        """CREATE TABLE step_results (
            result_id TEXT PRIMARY KEY, key TEXT NOT NULL, reads_digest TEXT NOT NULL, reads TEXT NOT NULL,
            step TEXT NOT NULL, run_id TEXT NOT NULL, output TEXT, output_digest TEXT NOT NULL, parts TEXT NOT NULL,
            opaque TEXT NOT NULL, created_at TEXT NOT NULL, UNIQUE (key, reads_digest))"""
    )
    transaction.execute("CREATE INDEX step_results_by_step ON step_results (step, result_id)")
    transaction.execute(
        """CREATE TABLE run_steps (
            run_id TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, status TEXT NOT NULL,
            cached INTEGER NOT NULL, reason TEXT NOT NULL, output_digest TEXT, opaque TEXT NOT NULL,
            attempts INTEGER NOT NULL, error TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT, cpu_seconds REAL,
            peak_memory_bytes INTEGER, PRIMARY KEY (run_id, number))"""
    )
    transaction.execute(
        """CREATE TABLE file_stamps (
            path TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL,
            changed_ns INTEGER NOT NULL, inode INTEGER NOT NULL, digest TEXT NOT NULL)"""
    )


def m0003_add_tracking(transaction: Transaction) -> None:
    """Runs and what they logged; owned by `tracking`. A run's latest metric values are kept beside its points."""
    transaction.execute(
        """CREATE TABLE runs (
            run_id TEXT PRIMARY KEY, experiment TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL,
            started_at TEXT NOT NULL, ended_at TEXT)"""
    )
    transaction.execute("CREATE INDEX runs_by_experiment ON runs (experiment, started_at)")
    transaction.execute(
        """CREATE TABLE run_parameters (
            run_id TEXT NOT NULL REFERENCES runs, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run_id, key))"""
    )
    transaction.execute(
        """CREATE TABLE run_tags (
            run_id TEXT NOT NULL REFERENCES runs, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run_id, key))"""
    )
    transaction.execute(
        """CREATE TABLE metric_points (
            run_id TEXT NOT NULL REFERENCES runs, key TEXT NOT NULL, step INTEGER NOT NULL, at TEXT NOT NULL,
            value REAL NOT NULL, PRIMARY KEY (run_id, key, step, at)) WITHOUT ROWID"""
    )
    transaction.execute(
        """CREATE TABLE latest_metrics (
            run_id TEXT NOT NULL REFERENCES runs, key TEXT NOT NULL, value REAL NOT NULL, step INTEGER NOT NULL,
            PRIMARY KEY (run_id, key))"""
    )


def m0004_add_datasets(transaction: Transaction) -> None:
    """Named datasets and their numbered versions; owned by `data.versions`."""
    transaction.execute(
        """CREATE TABLE dataset_versions (
            name TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL, file_name TEXT NOT NULL,
            size_bytes INTEGER NOT NULL, n_rows INTEGER, columns TEXT, source TEXT NOT NULL, created_at TEXT NOT NULL,
            PRIMARY KEY (name, version))"""
    )


def m0005_add_registry(transaction: Transaction) -> None:
    """Model versions, the history of their aliases, gate results and approvals; owned by `registry`."""
    transaction.execute(
        """CREATE TABLE model_versions (
            model TEXT NOT NULL, version INTEGER NOT NULL, bundle TEXT NOT NULL, run_id TEXT, status TEXT NOT NULL,
            evidence TEXT NOT NULL, created_at TEXT NOT NULL, created_by TEXT NOT NULL, PRIMARY KEY (model, version))"""
    )
    transaction.execute(
        """CREATE TABLE alias_moves (
            number INTEGER PRIMARY KEY, model TEXT NOT NULL, alias TEXT NOT NULL, version INTEGER,
            at TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX alias_moves_by_alias ON alias_moves (model, alias, number)")
    transaction.execute(
        """CREATE TABLE gate_results (
            model TEXT NOT NULL, version INTEGER NOT NULL, gate TEXT NOT NULL, passed INTEGER NOT NULL,
            reason TEXT NOT NULL, evidence TEXT NOT NULL, at TEXT NOT NULL, number INTEGER PRIMARY KEY)"""
    )
    transaction.execute("CREATE INDEX gate_results_by_version ON gate_results (model, version)")
    transaction.execute(
        """CREATE TABLE approvals (
            model TEXT NOT NULL, version INTEGER NOT NULL, approver TEXT NOT NULL, role TEXT NOT NULL,
            comment TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (model, version, approver))"""
    )


def m0006_add_predictions(transaction: Transaction) -> None:
    """Sealed pieces of the prediction log; owned by `predictions.segments`."""
    transaction.execute(
        """CREATE TABLE log_segments (
            number INTEGER PRIMARY KEY, model TEXT NOT NULL, kind TEXT NOT NULL, path TEXT NOT NULL,
            n_rows INTEGER NOT NULL, first_at TEXT NOT NULL, last_at TEXT NOT NULL, first_id TEXT NOT NULL,
            last_id TEXT NOT NULL, sealed_at TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX log_segments_by_time ON log_segments (model, kind, first_at)")
    transaction.execute(
        "CREATE TABLE journal_offsets (journal TEXT PRIMARY KEY, offset_bytes INTEGER NOT NULL, ended INTEGER NOT NULL)"
    )


def m0007_add_loop(transaction: Transaction) -> None:
    """Rollouts in progress and past, monitors' states, incidents; owned by `loop`, `monitor`."""
    transaction.execute(
        """CREATE TABLE deployments (
            deployment_id TEXT PRIMARY KEY, model TEXT NOT NULL, version INTEGER NOT NULL, status TEXT NOT NULL,
            stage INTEGER NOT NULL, weight REAL NOT NULL, started_at TEXT NOT NULL, stage_at TEXT NOT NULL,
            ended_at TEXT, reason TEXT NOT NULL, state TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX deployments_by_model ON deployments (model, started_at)")
    transaction.execute(
        """CREATE TABLE monitors (
            model TEXT NOT NULL, version INTEGER NOT NULL, rule TEXT NOT NULL, state TEXT NOT NULL,
            cursor_at TEXT NOT NULL, PRIMARY KEY (model, version, rule))"""
    )
    transaction.execute(
        """CREATE TABLE incidents (
            incident_id TEXT PRIMARY KEY, dedup_key TEXT NOT NULL, model TEXT NOT NULL, version INTEGER,
            rule TEXT NOT NULL, severity TEXT NOT NULL, status TEXT NOT NULL, title TEXT NOT NULL, owner TEXT NOT NULL,
            opened_at TEXT NOT NULL, closed_at TEXT, diagnosis TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX incidents_by_key ON incidents (dedup_key, status)")
    transaction.execute(
        """CREATE TABLE incident_entries (
            number INTEGER PRIMARY KEY, incident_id TEXT NOT NULL REFERENCES incidents, at TEXT NOT NULL,
            actor TEXT NOT NULL, what TEXT NOT NULL, text TEXT NOT NULL, evidence TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX incident_entries_by_incident ON incident_entries (incident_id, number)")


def m0008_add_log_traffic(transaction: Transaction) -> None:
    """What each sealing brought, kept when its segments are merged; owned by `predictions.segments`.

    A segment of predictions learns its model's version (0: not known), so that questions about one version read no
    other's files.
    """
    transaction.execute("ALTER TABLE log_segments ADD COLUMN model_version INTEGER NOT NULL DEFAULT 0")
    transaction.execute(
        """CREATE TABLE log_traffic (
            number INTEGER PRIMARY KEY, model TEXT NOT NULL, kind TEXT NOT NULL, n_rows INTEGER NOT NULL,
            sealed_at TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX log_traffic_by_model ON log_traffic (model, sealed_at)")
    transaction.execute(
        "INSERT INTO log_traffic (model, kind, n_rows, sealed_at)"
        " SELECT model, kind, n_rows, sealed_at FROM log_segments ORDER BY number"
    )


def m0009_add_recall(transaction: Transaction) -> None:
    """How a kept result can be made again, and the text its code had; owned by `pipeline.ledger`."""
    transaction.execute("ALTER TABLE step_results ADD COLUMN recall TEXT NOT NULL DEFAULT ''")
    transaction.execute("CREATE TABLE step_code (digest TEXT PRIMARY KEY, text TEXT NOT NULL)")


def m0010_add_partitions(transaction: Transaction) -> None:
    """Which partitions a pipeline was run for, with which other parameters; owned by `pipeline.backfill`."""
    transaction.execute(
        """CREATE TABLE partition_runs (
            pipeline TEXT NOT NULL, parameters TEXT NOT NULL, partition TEXT NOT NULL, run_id TEXT NOT NULL,
            status TEXT NOT NULL, ended_at TEXT NOT NULL, PRIMARY KEY (pipeline, parameters, partition))"""
    )


def m0011_add_schedules(transaction: Transaction) -> None:
    """Schedules and their ticks, each claimed by one scheduler at a time; owned by `pipeline.schedules`."""
    transaction.execute(
        """CREATE TABLE schedules (
            name TEXT PRIMARY KEY, cron TEXT NOT NULL, timezone TEXT NOT NULL, target TEXT NOT NULL,
            parameters TEXT NOT NULL, catch_up TEXT NOT NULL, created_at TEXT NOT NULL, next_at TEXT NOT NULL)"""
    )
    transaction.execute(
        """CREATE TABLE schedule_ticks (
            name TEXT NOT NULL, due_at TEXT NOT NULL, status TEXT NOT NULL, holder TEXT NOT NULL, lease_until TEXT,
            attempts INTEGER NOT NULL, missed INTEGER NOT NULL, run_id TEXT NOT NULL, error TEXT NOT NULL,
            ended_at TEXT, PRIMARY KEY (name, due_at))"""
    )
    transaction.execute("CREATE INDEX schedule_ticks_by_status ON schedule_ticks (status, due_at)")


def m0012_add_provenance(transaction: Transaction) -> None:
    """What a run keeps to be made again, owned by `pipeline.provenance`; more of each step, by `pipeline.ledger`."""
    transaction.execute("CREATE TABLE run_provenance (run_id TEXT PRIMARY KEY, document TEXT NOT NULL)")
    transaction.execute("ALTER TABLE run_steps ADD COLUMN needs TEXT NOT NULL DEFAULT '[]'")
    transaction.execute("ALTER TABLE run_steps ADD COLUMN seed INTEGER")
    transaction.execute("ALTER TABLE run_steps ADD COLUMN seconds REAL")
    transaction.execute("ALTER TABLE run_steps ADD COLUMN log TEXT NOT NULL DEFAULT ''")


def m0013_widen_registry(transaction: Transaction) -> None:
    """Models as things of their own, versions from outside, tags, comments, rules of aliases; owned by `registry`."""
    transaction.execute(
        """CREATE TABLE models (
            name TEXT PRIMARY KEY, description TEXT NOT NULL, owner TEXT NOT NULL, last_version INTEGER NOT NULL,
            created_at TEXT NOT NULL, created_by TEXT NOT NULL, updated_at TEXT NOT NULL)"""
    )
    transaction.execute(
        """INSERT INTO models (name, description, owner, last_version, created_at, created_by, updated_at)
            SELECT made.model, '', made.created_by, last.version, made.created_at, made.created_by, last.created_at
            FROM (SELECT model, min(version) AS first, max(version) AS last FROM model_versions GROUP BY model) AS span
            JOIN model_versions AS made ON made.model = span.model AND made.version = span.first
            JOIN model_versions AS last ON last.model = span.model AND last.version = span.last"""
    )
    transaction.execute(
        """CREATE TABLE model_tags (
            model TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, key))"""
    )
    transaction.execute("ALTER TABLE model_versions RENAME TO model_versions_before")
    transaction.execute(
        """CREATE TABLE model_versions (
            model TEXT NOT NULL, version INTEGER NOT NULL, bundle TEXT, run_id TEXT, status TEXT NOT NULL,
            evidence TEXT NOT NULL, created_at TEXT NOT NULL, created_by TEXT NOT NULL, source TEXT NOT NULL,
            location TEXT NOT NULL, run_link TEXT NOT NULL, logged_model TEXT NOT NULL, description TEXT NOT NULL,
            stage TEXT NOT NULL, updated_at TEXT NOT NULL, PRIMARY KEY (model, version))"""
    )
    transaction.execute(
        """INSERT INTO model_versions (model, version, bundle, run_id, status, evidence, created_at, created_by,
            source, location, run_link, logged_model, description, stage, updated_at)
            SELECT model, version, bundle, run_id, status, evidence, created_at, created_by,
            '', '', '', '', '', 'None', created_at FROM model_versions_before"""
    )
    transaction.execute("DROP TABLE model_versions_before")
    transaction.execute("CREATE INDEX model_versions_by_run ON model_versions (run_id)")
    transaction.execute("CREATE INDEX model_versions_by_update ON model_versions (updated_at, model, version)")
    transaction.execute(
        """CREATE TABLE version_tags (
            model TEXT NOT NULL, version INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
            PRIMARY KEY (model, version, key))"""
    )
    transaction.execute(
        """CREATE TABLE version_comments (
            number INTEGER PRIMARY KEY, model TEXT NOT NULL, version INTEGER NOT NULL, author TEXT NOT NULL,
            text TEXT NOT NULL, at TEXT NOT NULL)"""
    )
    transaction.execute("CREATE INDEX version_comments_by_version ON version_comments (model, version, number)")
    transaction.execute(
        """CREATE TABLE alias_rules (
            model TEXT NOT NULL, alias TEXT NOT NULL, origin TEXT NOT NULL, roles TEXT NOT NULL, gates INTEGER NOT NULL,
            approver_role TEXT, approvals INTEGER NOT NULL, made_at TEXT NOT NULL,
            PRIMARY KEY (model, alias, origin))"""
    )
    # what each model's loop asked of people was kept with its newest version until now
    for model, evidence, made_at in transaction.execute(
        "SELECT model, evidence, created_at FROM model_versions ORDER BY model, version"
    ):
        asked = json.loads(evidence).get("approval")
        if asked:
            transaction.execute(
                "INSERT INTO alias_rules (model, alias, origin, roles, gates, approver_role, approvals, made_at)"
                " VALUES (?, 'champion', 'loop', '[]', 1, ?, ?, ?) ON CONFLICT (model, alias, origin)"
                " DO UPDATE SET approver_role = excluded.approver_role, approvals = excluded.approvals",
                (model, asked.get("role"), int(asked.get("count", 1)), made_at),
            )


#: Append only. A released migration is never edited: add another.
FROM_0001 = (
    m0001_add_events,
    m0002_add_pipeline,
    m0003_add_tracking,
    m0004_add_datasets,
    m0005_add_registry,
    m0006_add_predictions,
    m0007_add_loop,
    m0008_add_log_traffic,
    m0009_add_recall,
    m0010_add_partitions,
    m0011_add_schedules,
    m0012_add_provenance,
    m0013_widen_registry,
)
