"""What steps print and log is kept, wherever they run, and is still seen by everybody else."""

import logging
import sys
import time

import pytest

import mainspring as ms
from mainspring.pipeline import step_logs
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.executor import InProcessExecutor
from mainspring.pipeline.ledger import steps_of
from mainspring.pipeline.outcome import RunFailed
from mainspring.pipeline.step_logs import LogLine, StepLog, captured, read_log, show


def texts(log: StepLog) -> list[tuple[str, str]]:
    return [(line.stream, line.text) for line in log.lines]


def test_prints_are_kept_line_by_line_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    log = StepLog()
    with captured(log):
        print("one", "two")
        print("three", end="")
        print("four", file=sys.stderr)
    assert texts(log) == [("stdout", "one two"), ("stderr", "four"), ("stdout", "three")]
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("one two\nthree", "four\n")


def test_log_records_are_kept_once_with_their_error(capsys: pytest.CaptureFixture[str]) -> None:
    log = StepLog()
    with captured(log):
        try:
            raise ValueError("bad row")
        except ValueError:
            logging.getLogger("mine").exception("row %d", 7)
        logging.getLogger("mine").debug("not enabled")
    lines = [text for stream, text in texts(log) if stream == "logging"]
    assert lines[0] == "ERROR mine: row 7"
    assert lines[-1] == "ValueError: bad row"
    assert not [each for each in texts(log) if each[0] == "stderr"]


def test_progress_bar_is_kept_as_it_ended() -> None:
    log = StepLog()
    with captured(log):
        sys.stderr.write("10 %\r50 %\r100 %\n")
    assert texts(log) == [("stderr", "100 %")]


def test_long_log_keeps_its_beginning_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_logs, "_MOST_CHARACTERS", 20)
    log = StepLog()
    for number in range(100):
        log.write("stdout", f"{number}\n")
    lines = [text for _, text in texts(log)]
    assert lines[0] == "0"
    assert lines[-1] == "99"
    assert any("lines left out" in each for each in lines)


def test_streams_are_given_back_unless_somebody_took_them() -> None:
    before = sys.stdout, sys.stderr, logging.getLogRecordFactory()
    with captured(StepLog()):
        pass
    assert (sys.stdout, sys.stderr, logging.getLogRecordFactory()) == before


def test_kept_to_itself_and_shown_by_another(capsys: pytest.CaptureFixture[str]) -> None:
    log = StepLog(is_shown=False)
    with captured(log):
        print("hidden")
    assert capsys.readouterr().out == ""
    show(log.lines)
    assert capsys.readouterr().out == "hidden\n"


@ms.step
def talk(name: str) -> str:
    print("hello", name)
    logging.getLogger("talk").warning("careful, %s", name)
    end = time.thread_time() + 0.2
    while time.thread_time() < end:
        pass
    return name


@ms.step
def fall(name: str) -> str:
    print("before the fall")
    raise ValueError("fallen")


@ms.pipeline
def talks() -> list[str]:
    return [talk("a"), talk("b")]


@ms.pipeline
def falls() -> str:
    return fall("a")


@pytest.mark.parametrize("executor", ["processes", "in-process"])
def test_log_of_a_step_is_kept_with_its_row(context: PipelineContext, executor: str) -> None:
    import dataclasses

    if executor == "in-process":
        context = dataclasses.replace(context, executor=InProcessExecutor())
    outcome = talks.run(context)
    for row, name in zip(steps_of(context.store, outcome.run_id), "ab", strict=True):
        lines = read_log(context.artifacts, row.log)
        assert [(each.stream, each.text) for each in lines] == [
            ("stdout", f"hello {name}"),
            ("logging", f"WARNING talk: careful, {name}"),
        ]
        assert row.seconds is not None
        assert row.seconds >= 0.2


def test_log_of_a_step_that_failed_has_its_error(context: PipelineContext) -> None:
    with pytest.raises(RunFailed) as failed:
        falls.run(context)
    assert failed.value.outcome is not None
    lines = read_log(context.artifacts, failed.value.outcome.steps[0].log)
    assert lines[0][1:] == ("stdout", "before the fall")
    assert lines[-1] == LogLine(lines[-1].seconds, "error", "ValueError: fallen")


def test_silent_step_keeps_no_artifact(context: PipelineContext) -> None:
    assert read_log(context.artifacts, "") == ()
    assert StepLog().keep(context.artifacts) == ""
