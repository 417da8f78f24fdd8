"""Partitions: keys and ranges; backfill: each partition once, again when it is stale, the rest kept."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

import mainspring as ms
from mainspring.errors import Invalid
from mainspring.pipeline.backfill import PartitionRun, backfill, partition_parameter, partition_runs
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.parameters import parse_parameters
from mainspring.pipeline.partitions import parse_range, partition, partitions
from mainspring.pipeline.step import pipeline, step


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@step
def rows(month: ms.Partition, scale: int) -> int:
    with Path("ran.log").open("a") as log:
        log.write(f"{month.key}\n")
    if month.key == "2013-02" and Path("broken").exists():
        raise ValueError("no data for February")
    return len(Path("data.txt").read_text()) * month.start.month * scale if Path("data.txt").exists() else 0


@pipeline
def report(month: ms.Partition, scale: int = 1) -> int:
    return rows(month, scale)


def _ran() -> list[str]:
    made = Path("ran.log").read_text().splitlines() if Path("ran.log").exists() else []
    Path("ran.log").unlink(missing_ok=True)
    return made


def _said(runs: list[PartitionRun]) -> list[tuple[str, str, bool]]:
    return [(each.partition.key, each.status, each.skipped) for each in runs]


@pytest.mark.parametrize(
    ("key", "start", "end"),
    [
        ("2013", (2013, 1, 1), (2014, 1, 1)),
        ("2013-12", (2013, 12, 1), (2014, 1, 1)),
        ("2024-02", (2024, 2, 1), (2024, 3, 1)),
        ("2020-W53", (2020, 12, 28), (2021, 1, 4)),
        ("2013-01-31", (2013, 1, 31), (2013, 2, 1)),
        ("2013-12-31T23", (2013, 12, 31, 23), (2014, 1, 1)),
    ],
)
def test_a_key_names_its_time(key: str, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    found = partition(key)
    assert (found.start, found.end) == (datetime(*start, tzinfo=UTC), datetime(*end, tzinfo=UTC))  # type: ignore[misc, arg-type]
    assert str(found) == key


def test_ranges_hold_both_ends() -> None:
    assert [each.key for each in partitions("2012-12", "2013-02")] == ["2012-12", "2013-01", "2013-02"]
    assert len(partitions("2013", "2013", every="month")) == 12
    assert len(partitions("2013-01-01", "2013-01-02", every="hour")) == 48
    assert [each.key for each in partitions("2020-W53", "2021-W01")] == ["2020-W53", "2021-W01"]
    one, two = partitions("2013-01", "2013-02")
    assert one.end == two.start
    assert [each.key for each in parse_range("2013-01..2013-02,2013-05,2013-02")] == ["2013-01", "2013-02", "2013-05"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("2013-13", "2013-14"), "`2013-13` is no month"),
        (("January", "2013-02"), "`January` is no partition"),
        (("2013-02", "2013-01"), "before"),
        (("2013", "2013-02"), "different sizes"),
        (("2013-01", "2013-01", "week"), "do not fill"),
        (("2013-01", "2013-01", "fortnight"), "no size"),
        (("1000", "2013", "hour"), "More than"),
    ],
)
def test_wrong_ranges_are_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        partitions(*words)  # type: ignore[arg-type]


def test_a_parameter_is_read_from_its_key() -> None:
    assert parse_parameters(report, ["month=2013-03"]) == {"month": partition("2013-03")}
    assert partition_parameter(report) == "month"

    @pipeline
    def none(x: int) -> int:
        return x

    with pytest.raises(Invalid, match=r"no parameters annotated `ms\.Partition`"):
        partition_parameter(none)


def test_backfill_runs_what_is_missing_and_keeps_the_rest(context: PipelineContext) -> None:
    Path("data.txt").write_text("abc")
    months = parse_range("2013-01..2013-03")
    assert [each.status for each in partition_runs(report, context, months)] == ["missing"] * 3
    told: list[PartitionRun] = []
    first = backfill(report, context, months[:2], {}, told.append)
    assert _said(first) == [("2013-01", "done", False), ("2013-02", "done", False)]
    assert told == first
    assert _ran() == ["2013-01", "2013-02"]
    assert _said(backfill(report, context, months, {})) == [
        ("2013-01", "done", True),
        ("2013-02", "done", True),
        ("2013-03", "done", False),
    ]
    assert _ran() == ["2013-03"]
    assert [each.partition.key for each in partition_runs(report, context)] == ["2013-01", "2013-02", "2013-03"]


def test_a_stale_partition_says_why_and_runs_again(context: PipelineContext) -> None:
    Path("data.txt").write_text("abc")
    months = parse_range("2013-01..2013-02")
    backfill(report, context, months)
    Path("data.txt").write_text("abcd")
    standing = partition_runs(report, context, months)
    assert [(each.status, each.reason) for each in standing] == [("stale", "rows: file `data.txt` changed")] * 2
    _ran()
    assert not any(each.skipped for each in backfill(report, context, months))
    assert _ran() == ["2013-01", "2013-02"]


def test_one_that_fails_does_not_stop_the_others_and_is_run_next_time(context: PipelineContext) -> None:
    Path("data.txt").write_text("abc")
    Path("broken").write_text("")
    months = parse_range("2013-01..2013-03")
    ended = backfill(report, context, months)
    assert [each.status for each in ended] == ["done", "failed", "done"]
    assert "no data for February" in ended[1].reason
    assert [each.status for each in partition_runs(report, context, months)] == ["done", "failed", "done"]
    Path("broken").unlink()
    _ran()
    again = backfill(report, context, months)
    assert [each.status for each in again] == ["done"] * 3
    assert _ran() == ["2013-02"]


def test_other_parameters_are_another_backfill(context: PipelineContext) -> None:
    months = parse_range("2013-01")
    backfill(report, context, months)
    assert [each.status for each in partition_runs(report, context, months, {"scale": 2})] == ["missing"]
