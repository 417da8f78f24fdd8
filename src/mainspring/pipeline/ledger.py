"""Kept results and the steps of runs: the SQL of `step_results`, `step_code`, `run_steps` and `file_stamps`.

A result is found by its key and then by its reads: the same call may have several results, one for each state of the
files it read. A small value lives in its row; a large document is an artifact, and the row holds its digest.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from mainspring.artifacts.collect import digests_in
from mainspring.artifacts.digests import digest_of_bytes
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import Digest, RunId, new_id
from mainspring.pipeline._preview import lines_of
from mainspring.pipeline.documents import Stored, holds_pickle, objects_in
from mainspring.pipeline.fingerprint import Fingerprint, Part
from mainspring.pipeline.reads import Read, Stamp
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = [
    "CacheEntry",
    "Former",
    "KeptResult",
    "Ledger",
    "Result",
    "StepRow",
    "StepStatus",
    "artifact_roots",
    "forget_run",
    "steps_of",
]

StepStatus = Literal["running", "finished", "failed"]

#: Stands with a result that is a pickle.
PICKLED = "the result is a pickle: loading it runs the code in it"

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
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptResult(Result):
    """A kept result with its step's name and how to call it again."""

    step: str = ""
    recall: str = ""


class CacheEntry(NamedTuple):
    """What the cache holds of one step: how many results, when the last was kept, and their bytes without sharing."""

    step: str
    results: int
    last_at: str
    size_bytes: int


class Former(NamedTuple):
    """What an earlier result of a step was made of."""

    run_id: RunId
    parts: tuple[Part, ...]
    key: Digest


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of one run. `reason` says why it ran, or which run its result comes from.

    `peak_memory_bytes` is the most the process had used when the step ended; `seconds` are of the wall. `needs` are the
    numbers of the calls whose results it takes, `seed` is what its random numbers began from, `log` the digest of what
    it said (see `step_logs`).
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
    needs: tuple[int, ...] = ()
    seed: int | None = None
    seconds: float | None = None
    log: str = ""


class Ledger:
    """Reads and writes what pipelines remember."""

    def __init__(self, store: Store, artifacts: ArtifactStore) -> None:
        self._store = store
        self._artifacts = artifacts
        self._texts: set[str] = set()  # functions whose text this process has written

    def results_for(self, key: Digest) -> list[Result]:
        """Return the kept results of a call, newest first; one whose document is gone is left out."""
        rows = self._store.read(
            "SELECT result_id, key, run_id, reads, output, output_digest, opaque FROM step_results"
            " WHERE key = ? ORDER BY result_id DESC",
            (key,),
        )
        found = [self._result(*row) for row in rows]
        return [each for each in found if each is not None]

    def _result(
        self, result_id: str, key: str, run_id: str, reads: str, output: str | None, *rest: str
    ) -> Result | None:
        output_digest, opaque = rest
        if output is None:
            if not self._artifacts.exists(Digest(output_digest)):
                return None
            output = self._artifacts.read_bytes(Digest(output_digest)).decode()
        inputs = tuple(Read(*each) for each in json.loads(reads))
        stored = Stored(json.loads(output))
        return Result(result_id, Digest(key), RunId(run_id), inputs, stored, tuple(json.loads(opaque)))

    def result_of(self, row: StepRow) -> Result | None:
        """Return the kept result that a row came to, found or made, with its parts; None where none was kept."""
        rows = self._store.read(
            "SELECT result_id, run_id, reads, output, opaque, parts FROM step_results"
            " WHERE key = ? AND output_digest = ? ORDER BY result_id LIMIT 1",
            (row.key, row.output_digest or ""),
        )
        if not rows:
            return None
        result_id, run_id, reads, output, opaque, parts = rows[0]
        if output is None:
            output = self._artifacts.read_bytes(row.output_digest or Digest("")).decode()
        return Result(
            result_id,
            Digest(row.key),
            run_id,
            tuple(Read(*each) for each in json.loads(reads)),
            Stored(json.loads(output)),
            tuple(json.loads(opaque)),
            tuple(Part(*each) for each in json.loads(parts)),
        )

    def first_made(self, row: StepRow) -> StepRow | None:
        """Return the row of the run that made what a row found in the cache; None where that run is not known."""
        rows = self._store.read(
            f"SELECT {', '.join(f'run_steps.{name}' for name in _COLUMNS)} FROM run_steps JOIN step_results ON"
            " step_results.run_id = run_steps.run_id AND step_results.key = run_steps.key"
            " WHERE step_results.key = ? AND step_results.output_digest = ? AND run_steps.cached = 0 LIMIT 1",
            (row.key, row.output_digest or ""),
        )
        return _step_row(dict(zip(_COLUMNS, rows[0], strict=True))) if rows else None

    def recent_parts(self, step: str, *, limit: int = 10) -> list[tuple[RunId, tuple[Part, ...]]]:
        """Return what the last results of a step of that name were made of, newest first."""
        rows = self._store.read(
            "SELECT run_id, parts FROM step_results WHERE step = ? ORDER BY result_id DESC LIMIT ?", (step, limit)
        )
        return [(run_id, tuple(Part(*each) for each in json.loads(parts))) for run_id, parts in rows]

    def formers(self, step: str, *, limit: int = 10) -> list[Former]:
        """Return what the last results of a step of that name were made of, newest first, with their keys."""
        rows = self._store.read(
            "SELECT run_id, parts, key FROM step_results WHERE step = ? ORDER BY result_id DESC LIMIT ?", (step, limit)
        )
        return [Former(run_id, tuple(Part(*each) for each in json.loads(parts)), key) for run_id, parts, key in rows]

    def code_of(self, digest: str) -> str:
        """Return the text a function had, by the digest of its part; empty where it was not kept."""
        rows = self._store.read("SELECT text FROM step_code WHERE digest = ?", (digest,))
        return str(rows[0][0]) if rows else ""

    def seconds_of(self, step: str) -> float | None:
        """Return the CPU time that the last kept result of a step of that name took; None for one that never ran."""
        rows = self._store.read(
            "SELECT max(run_steps.cpu_seconds) FROM run_steps WHERE name = ? AND run_id ="
            " (SELECT run_id FROM step_results WHERE step = ? ORDER BY result_id DESC LIMIT 1)",
            (step, step),
        )
        return rows[0][0] if rows else None

    def all_results(self) -> list[KeptResult]:
        """Return every kept result, newest first; one whose document is gone is left out."""
        rows = self._store.read(
            "SELECT step, recall, result_id, key, run_id, reads, output, output_digest, opaque FROM step_results"
            " ORDER BY result_id DESC"
        )
        found = []
        for step, recall, *row in rows:
            result = self._result(*row)
            if result is not None:
                values = {name: getattr(result, name) for name in Result.__dataclass_fields__}
                found.append(KeptResult(**values, step=step, recall=recall))
        return found

    def entries(self) -> list[CacheEntry]:
        """Return what is kept of each step, by its name."""
        found: dict[str, CacheEntry] = {}
        created: dict[str, str] = dict(self._store.read("SELECT result_id, created_at FROM step_results"))
        for each in self.all_results():
            size = sum(
                self._artifacts.size_bytes(digest)
                for digest in {*objects_in(each.stored.document)}
                if self._artifacts.exists(digest)
            )
            former = found.get(each.step, CacheEntry(each.step, 0, "", 0))
            last_at = max(former.last_at, created.get(each.result_id, ""))
            found[each.step] = CacheEntry(each.step, former.results + 1, last_at, former.size_bytes + size)
        return [found[name] for name in sorted(found)]

    def count_older(self, before: str, step: str = "") -> int:
        """Return how many results were kept before a moment, of one step or of all."""
        rows = self._store.read(
            "SELECT count(*) FROM step_results WHERE created_at < ? AND (step = ? OR ? = '')", (before, step, step)
        )
        return int(rows[0][0])

    def forget_older(self, before: str, step: str = "") -> int:
        """Drop the results kept before a moment, of one step or of all, and return how many those were."""

        def write(transaction: Transaction) -> int:
            gone = transaction.execute(
                "DELETE FROM step_results WHERE created_at < ? AND (step = ? OR ? = '') RETURNING result_id",
                (before, step, step),
            )
            return len(gone)

        return self._store.change(
            lambda count: Event("cache.cleared", step or "*", {"before": before, "results": count}) if count else None,
            write,
        )

    def put_steps(self, rows: Iterable[StepRow]) -> None:
        """Write steps of a run; a step that is there already takes the new state."""
        values = [_row_values(row) for row in rows]
        if values:
            self._store.record(lambda transaction: transaction.execute_many(_PUT_STEP, values))

    def put_result(
        self,
        row: StepRow,
        fingerprint: Fingerprint,
        reads: Sequence[Read],
        stored: Stored,
        *,
        at: str,
        recall: str = "",
    ) -> None:
        """Write a finished step together with its result. What the result needs must be in the artifact store.

        `recall` says how to make the call again (see `recall`). Two runs that made the same result at once keep the
        first.
        """
        if holds_pickle(stored.document):
            row = replace(row, opaque=tuple(dict.fromkeys((*row.opaque, PICKLED))))
        text = stored.text
        small = len(text) <= _INLINE_CHARACTERS
        if not small:
            self._artifacts.put_bytes(text.encode())
        manifest = json.dumps(reads)
        parts = json.dumps(fingerprint.parts)
        values = (
            new_id(), fingerprint.key, digest_of_bytes(manifest.encode()), manifest, row.name, row.run_id,
            text if small else None, stored.digest, parts, json.dumps(row.opaque), at, recall,
        )  # fmt: skip
        new = {digest: lines_of(span) for digest, span in fingerprint.spans.items() if digest not in self._texts}

        def write(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT INTO step_results (result_id, key, reads_digest, reads, step, run_id, output, output_digest,"
                " parts, opaque, created_at, recall) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (key, reads_digest) DO NOTHING",
                values,
            )
            transaction.execute(_PUT_STEP, _row_values(row))
            transaction.execute_many(
                "INSERT INTO step_code (digest, text) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING", new.items()
            )

        self._store.record(write)
        self._texts.update(new)

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


def artifact_roots(snapshot: Transaction) -> Iterator[Digest]:
    """Yield the objects that kept results, the steps of runs and their logs need."""
    for texts in snapshot.execute("SELECT output, output_digest, recall FROM step_results"):
        yield from (digest for text in texts for digest in digests_in(text))
    for texts in snapshot.execute("SELECT output_digest, log FROM run_steps"):
        yield from (digest for text in texts for digest in digests_in(text))


def forget_run(transaction: Transaction, run_id: str) -> None:
    """Drop the steps of a run that is erased; the results they made stay in the cache, for other runs."""
    transaction.execute("DELETE FROM run_steps WHERE run_id = ?", (run_id,))


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
    lists = {name: json.dumps(values[name]) for name in ("opaque", "needs")}
    return tuple((values | lists | {"cached": int(row.cached)}).values())


def _step_row(values: dict[str, Any]) -> StepRow:  # columns of several types
    lists = {name: tuple(json.loads(values[name])) for name in ("opaque", "needs")}
    return StepRow(**(values | lists | {"cached": bool(values["cached"])}))
