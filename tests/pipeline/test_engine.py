"""Runs: what is made, what is found, what is told, and what happens when a step fails."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from mainspring.errors import CheckFailed, Invalid, outcome_of
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.ledger import steps_of
from mainspring.pipeline.outcome import RunFailed
from mainspring.pipeline.step import pipeline, step
from mainspring.tracking.runs import find_run

# What the steps below did; a list in a module is a value they name, so it is hidden behind a file.
_LOG = Path("calls.log")


class Parts(NamedTuple):
    train: pd.DataFrame
    rest: list[int]


@dataclass(frozen=True)
class Score:
    name: str
    value: float
    by_group: dict[str, float]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _note(what: str) -> None:
    with _LOG.open("a") as log:
        log.write(what + "\n")


def _calls() -> list[str]:
    return _LOG.read_text().splitlines() if _LOG.exists() else []


@step
def load(n: int) -> pd.DataFrame:
    _note("load")
    return pd.DataFrame({"x": np.arange(n, dtype="float64"), "word": [f"w{i}" for i in range(n)]})


@step
def cut(table: pd.DataFrame, at: int = 2) -> Parts:
    _note("cut")
    return Parts(table.iloc[:at].reset_index(drop=True), list(range(at)))


@step
def score(table: pd.DataFrame, c: float = 1.0) -> Score:
    _note("score")
    return Score("mean", float(table["x"].mean()) * c, {"all": 1.0})


@step
def add(a: float, b: float) -> float:
    _note("add")
    return a + b


@pipeline
def whole(n: int = 4, c: float = 1.0) -> Score:
    return score(cut(load(n)).train, c)


def test_second_run_finds_everything_and_loads_nothing(context: PipelineContext) -> None:
    first = whole.run(context)
    assert [row.cached for row in first.steps] == [False, False, False]
    second = whole.run(context)
    assert [row.cached for row in second.steps] == [True, True, True]
    assert second.steps[0].reason == f"hit from run {first.run_id}"
    assert second.value == first.value == Score("mean", 0.5, {"all": 1.0})
    assert second.result == {"name": "mean", "value": 0.5, "by_group": {"all": 1.0}}
    assert _calls() == ["load", "cut", "score"]


def test_changed_argument_runs_only_what_hangs_on_it(context: PipelineContext) -> None:
    whole.run(context)
    out = whole.run(context, c=2.0)
    assert [(row.name, row.cached) for row in out.steps] == [("load", True), ("cut", True), ("score", False)]
    assert out.steps[2].reason.startswith("argument `c` changed")
    assert out.value.value == 1.0


def test_same_content_cuts_the_rest_off(context: PipelineContext) -> None:
    whole.run(context, 4)
    out = whole.run(context, 5)  # another table, but its first two rows are the same
    assert [(row.name, row.cached) for row in out.steps] == [("load", False), ("cut", False), ("score", True)]


def test_run_is_tracked_with_its_steps(context: PipelineContext) -> None:
    out = whole.run(context, c=3.0)
    run = find_run(context.store, out.run_id)
    assert (run.status, run.name, run.parameters) == ("finished", "whole", {"n": "4", "c": "3.0"})
    assert run.tags["pipeline"] == "whole"
    assert run.tags["python"].startswith("3.")
    rows = steps_of(context.store, out.run_id)
    assert rows == list(out.steps)
    assert [row.number for row in rows] == [0, 1, 2]
    assert all(row.ended_at is not None and row.cpu_seconds is not None for row in rows)


def test_progress_is_told(context: PipelineContext, told: Any) -> None:
    whole.run(context)
    whole.run(context)
    assert [(event.name, event.status) for event in told.events] == [
        ("load", "running"), ("load", "finished"), ("cut", "running"), ("cut", "finished"),
        ("score", "running"), ("score", "finished"), ("load", "cached"), ("cut", "cached"), ("score", "cached"),
    ]  # fmt: skip


def test_outside_a_pipeline_everything_is_plain(tmp_path: Path) -> None:
    assert add(1, 2) == 3
    assert isinstance(whole(), Score)
    assert whole.__name__ == "whole"
    assert not (tmp_path / "store.db").exists()


def test_condition_and_loop_force_only_what_they_need(context: PipelineContext) -> None:
    @pipeline
    def chosen(limit: float) -> list[float]:
        late = add(100, 100)
        parts = cut(load(4), at=3)
        sums = [add(number, 1) for number in parts.rest]
        if add(1, 1) > limit:
            assert "add" not in _calls()[:-1]  # neither `late` nor `sums` had to run for the question
            return [late, *sums]
        return sums

    assert chosen.run(context, 1.0).value == [200, 1, 2, 3]
    assert chosen.run(context, 5.0).value == [1, 2, 3]


def test_every_call_is_made_even_when_nobody_uses_its_result(context: PipelineContext) -> None:
    @pipeline
    def careless() -> int:
        add(1, 2)
        return 7

    out = careless.run(context)
    assert (out.value, _calls()) == (7, ["add"])


def test_pipeline_inside_a_pipeline_is_inlined(context: PipelineContext) -> None:
    @pipeline
    def outer() -> float:
        found = whole(4)
        return add(found.value, 1)

    out = outer.run(context)
    assert [row.name for row in out.steps] == ["load", "cut", "score", "add"]
    assert out.value == 1.5


def test_step_called_by_a_step_is_its_own_code(context: PipelineContext) -> None:
    @step
    def both(n: int) -> float:
        return add(n, n)

    @pipeline
    def nested() -> float:
        return both(3)

    out = nested.run(context)
    assert (out.value, [row.name for row in out.steps]) == (6, ["both"])


def test_values_nested_in_arguments_and_results(context: PipelineContext) -> None:
    @step
    def total(numbers: list[float], more: dict[str, tuple[float, ...]], one: Score) -> float:
        return sum(numbers) + sum(more["here"]) + one.value

    @pipeline
    def nested(x: float = 1.0) -> dict[str, object]:
        a = add(x, 1)
        summed = total([a, 10.0], {"here": (a, a)}, Score("made here", a, {}))
        return {"sum": summed, "parts": [a]}

    out = nested.run(context)
    assert out.value == {"sum": 18.0, "parts": [2.0]}
    assert out.result == {"sum": 18.0, "parts": [2.0]}
    assert all(row.cached for row in nested.run(context).steps)
    assert [row.cached for row in nested.run(context, 2.0).steps] == [False, False]


def test_step_that_changes_its_argument_harms_nobody(context: PipelineContext) -> None:
    @step
    def spoil(table: pd.DataFrame, numbers: list[int]) -> int:
        table["x"] = -1.0
        table.loc[0, "word"] = "spoiled"
        numbers.append(99)
        return len(numbers)

    @step
    def look(table: pd.DataFrame, numbers: list[int]) -> tuple[float, str, int]:
        return float(table["x"].sum()), str(table["word"].iloc[0]), len(numbers)

    @pipeline
    def rude() -> tuple[float, str, int]:
        parts = cut(load(4))
        spoil(parts.train, parts.rest)
        return look(parts.train, parts.rest)

    assert rude.run(context).value == (1.0, "w0", 2)
    assert rude.run(context).value == (1.0, "w0", 2)


def test_body_that_changes_an_argument_later_changes_nothing(context: PipelineContext) -> None:
    @step
    def length(numbers: list[int]) -> int:
        return len(numbers)

    @pipeline
    def sly() -> tuple[int, int]:
        numbers = [1]
        one = length(numbers)
        numbers.append(2)
        return one, length(numbers)

    assert sly.run(context).value == (1, 2)


def test_result_cannot_be_written_to_in_the_body(context: PipelineContext) -> None:
    @pipeline
    def writes() -> pd.DataFrame:
        table = load(3)
        table["y"] = 1
        return table

    with pytest.raises(RunFailed, match="cannot be changed in the pipeline body"):
        writes.run(context)


def test_result_changed_in_place_by_the_body_is_refused(context: PipelineContext) -> None:
    @step
    def numbers() -> list[int]:
        return [3, 1, 2]

    @step
    def first(values: list[int]) -> int:
        return values[0]

    @pipeline
    def sorts() -> int:
        values = numbers()
        values.sort()
        return first(values)

    with pytest.raises(RunFailed, match="changed in place"):
        sorts.run(context)


def test_step_without_cache_runs_each_time(context: PipelineContext) -> None:
    @step(cache=False)
    def always(x: int) -> int:
        _note("always")
        return x

    @pipeline
    def effects() -> float:
        return add(always(1), 1)

    assert [row.cached for row in effects.run(context).steps] == [False, False]
    assert [row.cached for row in effects.run(context).steps] == [False, True]
    assert _calls() == ["always", "add", "always"]


def test_step_without_cache_may_return_anything(context: PipelineContext) -> None:
    @step(cache=False)
    def connect() -> object:
        return iter([1, 2])

    @step(cache=False)
    def use(connection: Any) -> int:
        return int(next(connection))

    @pipeline
    def live() -> int:
        return use(connect())

    assert live.run(context).value == 1


def test_failed_step_names_step_and_line_and_keeps_the_rest(context: PipelineContext) -> None:
    @step
    def broken(a: float) -> float:
        return a / 0

    @pipeline
    def fails() -> float:
        return broken(add(1, 2))

    with pytest.raises(RunFailed) as caught:
        fails.run(context)
    failed = caught.value
    assert "The step `broken` failed: ZeroDivisionError" in str(failed)
    assert failed.where.startswith("test_engine.py:")
    assert failed.where.endswith("in broken")
    assert isinstance(failed.__cause__, ZeroDivisionError)
    assert failed.outcome is not None
    assert [(row.name, row.status) for row in failed.outcome.steps] == [("add", "finished"), ("broken", "failed")]
    assert find_run(context.store, failed.outcome.run_id).status == "failed"
    with pytest.raises(RunFailed):
        fails.run(context)
    assert _calls() == ["add"]


def test_our_own_error_keeps_its_code_and_advice(context: PipelineContext) -> None:
    @step
    def refuses() -> int:
        raise CheckFailed("3 rows have no origin", where="flights.csv", next_step="look at them")

    @pipeline
    def checked() -> int:
        return refuses()

    with pytest.raises(RunFailed) as caught:
        checked.run(context)
    assert outcome_of(caught.value) == outcome_of(CheckFailed(""))
    assert (caught.value.where, caught.value.next_step) == ("flights.csv", "look at them")


def test_body_that_fails_says_so(context: PipelineContext) -> None:
    @pipeline
    def falls() -> int:
        raise KeyError("gone")

    with pytest.raises(RunFailed, match="The body of `falls` failed: KeyError: 'gone'"):
        falls.run(context)


def test_interrupted_run_is_killed(context: PipelineContext) -> None:
    @step
    def stopped() -> int:
        raise KeyboardInterrupt

    @pipeline
    def interrupted() -> int:
        return stopped()

    with pytest.raises(KeyboardInterrupt):
        interrupted.run(context)
    rows = context.store.read("SELECT status FROM runs")
    assert rows == [("killed",)]


def test_retries_with_growing_pauses(context: PipelineContext, told: Any) -> None:
    @step(retries=2)
    def shaky() -> str:
        _note("try")
        if len(_calls()) < 3:
            raise OSError("not yet")
        return "done"

    @pipeline
    def patient() -> str:
        return shaky()

    pauses: list[float] = []
    context = PipelineContext(context.store, context.artifacts, progress=told, sleep=pauses.append)
    out = patient.run(context)
    assert (out.value, out.steps[0].attempts, pauses) == ("done", 3, [0.5, 1.0])
    assert [event.status for event in told.events] == ["running", "retrying", "retrying", "finished"]


def test_retries_end(context: PipelineContext) -> None:
    @step(retries=1)
    def hopeless() -> str:
        _note("try")
        raise OSError("never")

    @pipeline
    def patient() -> str:
        return hopeless()

    with pytest.raises(RunFailed, match="never"):
        patient.run(context)
    assert _calls() == ["try", "try"]


def test_timeout_interrupts_a_blocking_wait(context: PipelineContext) -> None:
    @step(timeout="50ms")
    def slow() -> int:
        try:
            time.sleep(30)
        except Exception:  # a step that swallows everything is interrupted all the same
            return 1
        return 0

    @pipeline
    def waits() -> int:
        return slow()

    started = time.monotonic()
    with pytest.raises(RunFailed, match="took longer than") as caught:
        waits.run(context)
    assert time.monotonic() - started < 10
    assert caught.value.code == "unavailable"


def test_timeout_in_a_thread(context: PipelineContext) -> None:
    from concurrent.futures import ThreadPoolExecutor

    @step(timeout="50ms")
    def busy() -> int:
        while True:
            pass

    @pipeline
    def spins() -> int:
        return busy()

    with ThreadPoolExecutor(1) as pool, pytest.raises(RunFailed, match="took longer than"):
        pool.submit(spins.run, context).result()


def test_result_that_cannot_be_kept_is_refused_with_its_place(context: PipelineContext) -> None:
    @step
    def strange() -> dict[str, list[object]]:
        return {"a": [1, iter([])]}

    @pipeline
    def bad() -> object:
        return strange()

    with pytest.raises(RunFailed) as caught:
        bad.run(context)
    assert "list_iterator" in str(caught.value)
    assert "['a'][1]" in caught.value.where


def test_argument_without_content_is_refused_by_name(context: PipelineContext) -> None:
    @pipeline
    def bad() -> float:
        return add(1, iter([]))  # type: ignore[arg-type]

    with pytest.raises(RunFailed, match="argument `b` cannot be told"):
        bad.run(context)


def test_arguments_that_do_not_fit(context: PipelineContext) -> None:
    with pytest.raises(Invalid, match="do not fit"):
        whole.run(context, wrong=1)  # type: ignore[call-arg]

    @pipeline
    def bad() -> float:
        return add(1)  # type: ignore[call-arg]

    with pytest.raises(RunFailed, match="does not fit `add"):
        bad.run(context)


def test_damaged_result_is_made_anew_when_it_is_needed(context: PipelineContext) -> None:
    out = whole.run(context)
    for digest in list(context.artifacts.digests()):
        path = context.artifacts.path_of(digest)
        path.chmod(0o644)
        path.write_bytes(b"\0" * path.stat().st_size)
    again = whole.run(context, c=5.0)
    assert again.value.value == 5.0 * out.value.value
    assert _calls() == ["load", "cut", "score", "load", "cut", "score"]


def test_result_that_is_gone_is_made_anew(context: PipelineContext) -> None:
    whole.run(context)
    for digest in list(context.artifacts.digests()):
        context.artifacts.path_of(digest).unlink()
    out = whole.run(context)
    assert [row.cached for row in out.steps] == [False, False, True]
    assert out.steps[0].reason == "the kept result is gone from the artifact store"


def test_file_as_argument_and_as_result(context: PipelineContext, tmp_path: Path) -> None:
    @step
    def shout(source: Path) -> Path:
        _note("shout")
        target = tmp_path / "loud.txt"
        target.write_text(source.read_text().upper())
        return target

    @step
    def read(path: str, loud: Path) -> str:
        return Path(path).read_text() + loud.read_text() + loud.name

    @pipeline
    def files(path: str) -> str:
        return read(path, shout(Path(path)))

    source = tmp_path / "in.txt"
    source.write_text("a")
    assert files.run(context, str(source)).value == "aAloud.txt"
    (tmp_path / "loud.txt").unlink()
    assert all(row.cached for row in files.run(context, str(source)).steps)
    source.write_text("b")
    assert files.run(context, str(source)).value == "bBloud.txt"
    assert _calls() == ["shout", "shout"]


def test_own_temporary_files_are_no_inputs(context: PipelineContext) -> None:
    import tempfile

    @step
    def scribbles() -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "note"
            path.write_text("x")
            assert len(list(Path(folder).iterdir())) == 1
            return path.read_text()

    @pipeline
    def temporary() -> str:
        return scribbles()

    temporary.run(context)
    assert temporary.run(context).steps[0].cached


def test_listing_of_a_folder_counts(context: PipelineContext, tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()

    @step
    def count() -> int:
        return len(list(Path("inputs").glob("*.csv")))

    @pipeline
    def counts() -> int:
        return count()

    assert counts.run(context).value == 0
    assert counts.run(context).steps[0].cached
    (folder / "a.csv").write_text("")
    assert counts.run(context).value == 1


def test_file_named_in_sql_counts(context: PipelineContext, tmp_path: Path) -> None:
    import duckdb

    @step
    def total() -> int:
        row = duckdb.connect().execute("SELECT sum(a) FROM 'numbers.csv'").fetchone()
        assert row is not None
        return int(row[0])

    @pipeline
    def sql() -> int:
        return total()

    (tmp_path / "numbers.csv").write_text("a\n1\n2\n")
    first = sql.run(context)
    assert first.value == 3
    assert not any("duckdb" in each for each in first.steps[0].opaque), "the reads of DuckDB are seen"
    assert sql.run(context).steps[0].cached
    (tmp_path / "numbers.csv").write_text("a\n1\n9\n")
    out = sql.run(context)
    assert (out.value, out.steps[0].reason) == (10, "file `numbers.csv` changed")


def test_file_that_changes_while_it_is_read_is_not_kept(context: PipelineContext, tmp_path: Path) -> None:
    (tmp_path / "moving.txt").write_text("1")

    @step
    def read() -> str:
        text = Path("moving.txt").read_text()
        Path("moving.txt").write_text(text + "1")
        return text

    @pipeline
    def moves() -> str:
        return read()

    assert moves.run(context).value == "1"
    out = moves.run(context)
    assert out.value == "11"
    assert "changed while it was read" in out.steps[0].opaque[-1]


def test_large_value_is_kept_beside_its_row(context: PipelineContext) -> None:
    @step
    def many(n: int) -> list[int]:
        return list(range(n))

    @pipeline
    def large() -> list[int]:
        return many(50_000)

    large.run(context)
    out = large.run(context)
    assert out.steps[0].cached
    assert out.value == list(range(50_000))
    assert context.artifacts.exists(out.steps[0].output_digest or "")  # type: ignore[arg-type]


def test_estimator_travels_between_steps(context: PipelineContext) -> None:
    from sklearn.linear_model import LogisticRegression

    @step
    def fit(estimator: LogisticRegression, table: pd.DataFrame) -> LogisticRegression:
        _note("fit")
        return estimator.fit(table[["x"]], table["x"] > 1)

    @step
    def predict(model: LogisticRegression, table: pd.DataFrame) -> np.ndarray:
        return model.predict(table[["x"]])

    @pipeline
    def model(c: float = 1.0) -> np.ndarray:
        table = load(6)
        estimator = LogisticRegression(C=c)
        predict(fit(estimator, table), table)
        return predict(fit(estimator, table), table)

    out = model.run(context)
    # One object given to two steps stays unfitted for the second, so the second is found.
    assert [row.cached for row in out.steps] == [False, False, False, True, True]
    assert out.value.tolist() == [False, False, True, True, True, True]
    assert not any(row.cached for row in model.run(context, 0.5).steps[1:2])
