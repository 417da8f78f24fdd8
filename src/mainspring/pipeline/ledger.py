"""Kept results and the steps of runs: the SQL of the tables `step_results`, `run_steps` and `file_stamps`.

A result is found by its key and then by its reads: the same call may have several results, one for each state of the
files it read. A small value lives in its row; a large document is an artifact, and the row holds its digest.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mainspring.artifacts.digests import digest_of_bytes
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import Digest, RunId, new_id
from mainspring.pipeline.documents import Stored
from mainspring.pipeline.fingerprint import Fingerprint, Part
from mainspring.pipeline.reads import Read, Stamp
from mainspring.store.protocol import Store, Transaction

__all__ = ["Ledger", "Result", "StepRow", "StepStatus", "steps_of"]

StepStatus = Literal["running", "finished", "failed"]

# A document up to this size is kept in its row: two syncs to the disk would cost more than the whole step.
_INLINE_CHARACTERS = 16_384


@dataclass(frozen=True, slots=True)
class Result:
    """A kept result of a step call."""

    result_id: str
    key: Digest
    run_id: RunId
    reads: tuple[Read, ...]
    stored: Stored
    opaque: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of one run. `reason` says why it ran, or which run its result comes from.

    `peak_memory_bytes` is the most the process had used when the step ended.
    """

    run_id: RunId
    number: int
    name: str
    key: str
    status: StepStatus
    cached: bool
    reason: str
    output_digest: Digest | None
    opaque: tuple[str, ...]
    attempts: int
    error: str
    started_at: str
    ended_at: str | None = None
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None


class Ledger:
    """Reads and writes what pipelines remember."""

    def __init__(self, store: Store, artifacts: ArtifactStore) -> None:
        self._store = store
        self._artifacts = artifacts

    def results_for(self, key: Digest) -> list[Result]:
        """Return the kept results of a call, newest first; one whose document is gone is left out."""
        rows = self._store.read(
            "SELECT result_id, key, run_id, reads, output, output_digest, opaque FROM step_results"
            " WHERE key = ? ORDER BY result_id DESC",
            (key,),
        )
        found = []
        for result_id, _, run_id, reads, output, output_digest, opaque in rows:
            if output is None:
                if not self._artifacts.exists(output_digest):
                    continue
                output = self._artifacts.read_bytes(output_digest).decode()
            inputs = tuple(Read(*each) for each in json.loads(reads))
            stored = Stored(json.loads(output))
            found.append(Result(result_id, key, run_id, inputs, stored, tuple(json.loads(opaque))))
        return found

    def recent_parts(self, step: str, *, limit: int = 10) -> list[tuple[RunId, tuple[Part, ...]]]:
        """Return what the last results of a step of that name were made of, newest first."""
        rows = self._store.read(
            "SELECT run_id, parts FROM step_results WHERE step = ? ORDER BY result_id DESC LIMIT ?", (step, limit)
        )
        return [(run_id, tuple(Part(*each) for each in json.loads(parts))) for run_id, parts in rows]

    def put_steps(self, rows: Iterable[StepRow]) -> None:
        """Write steps of a run; a step that is there already takes the new state."""
        values = [_row_values(row) for row in rows]
        if values:
            self._store.record(lambda transaction: transaction.execute_many(_PUT_STEP, values))

    def put_result(
        self, row: StepRow, fingerprint: Fingerprint, reads: Sequence[Read], stored: Stored, *, at: str
    ) -> None:
        """Write a finished step together with its result. What the result needs must be in the artifact store.

        Two runs that made the same result at once keep the first.
        """
        text = stored.text
        small = len(text) <= _INLINE_CHARACTERS
        if not small:
            self._artifacts.put_bytes(text.encode())
        manifest = json.dumps(reads)
        parts = json.dumps(fingerprint.parts)
        values = (
            new_id(), fingerprint.key, digest_of_bytes(manifest.encode()), manifest, row.name, row.run_id,
            text if small else None, stored.digest, parts, json.dumps(row.opaque), at,
        )  # fmt: skip

        def write(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT INTO step_results (result_id, key, reads_digest, reads, step, run_id, output, output_digest,"
                " parts, opaque, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (key, reads_digest) DO NOTHING",
                values,
            )
            transaction.execute(_PUT_STEP, _row_values(row))

        self._store.record(write)

    def forget_result(self, result_id: str) -> None:
        """Drop a kept result, because its objects are damaged or gone."""
        self._store.record(
            lambda transaction: transaction.execute("DELETE FROM step_results WHERE result_id = ?", (result_id,))
        )

    def stamp_of(self, path: str) -> tuple[Stamp, str] | None:
        """Return the stamp under which a file was last hashed, and its digest."""
        rows = self._store.read(
            "SELECT size_bytes, modified_ns, changed_ns, inode, digest FROM file_stamps WHERE path = ?", (path,)
        )
        return (Stamp(*rows[0][:4]), rows[0][4]) if rows else None

    def put_stamps(self, learned: Mapping[str, tuple[Stamp, str]]) -> None:
        """Remember files that were hashed."""
        values = [(path, *stamp, digest) for path, (stamp, digest) in learned.items()]
        if values:
            self._store.record(lambda transaction: transaction.execute_many(_PUT_STAMP, values))


def steps_of(store: Store, run_id: RunId) -> list[StepRow]:
    """Return the steps of a run in the order of their calls."""
    rows = store.read(f"SELECT {', '.join(_COLUMNS)} FROM run_steps WHERE run_id = ? ORDER BY number", (run_id,))
    return [_step_row(dict(zip(_COLUMNS, row, strict=True))) for row in rows]


_COLUMNS = tuple(StepRow.__dataclass_fields__)
_PUT_STEP = (
    f"INSERT INTO run_steps ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
    " ON CONFLICT (run_id, number) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in ("run_id", "number"))
)
_PUT_STAMP = (
    "INSERT INTO file_stamps (path, size_bytes, modified_ns, changed_ns, inode, digest) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (path) DO UPDATE SET size_bytes = excluded.size_bytes, modified_ns = excluded.modified_ns,"
    " changed_ns = excluded.changed_ns, inode = excluded.inode, digest = excluded.digest"
)


def _row_values(row: StepRow) -> tuple[Any, ...]:  # columns of several types
    values = {name: getattr(row, name) for name in _COLUMNS}
    return tuple((values | {"cached": int(row.cached), "opaque": json.dumps(row.opaque)}).values())


def _step_row(values: dict[str, Any]) -> StepRow:  # columns of several types
    return StepRow(**(values | {"cached": bool(values["cached"]), "opaque": tuple(json.loads(values["opaque"]))}))
