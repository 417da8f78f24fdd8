"""Which calls can be made now: the pure bookkeeping under the engine."""

from types import SimpleNamespace
from typing import Any

from mainspring.pipeline._agenda import Agenda


def _calls(*needs: tuple[int, ...]) -> Any:  # of a call only its needs are asked
    return [SimpleNamespace(index=number, needs=each) for number, each in enumerate(needs)]


def test_only_what_is_wanted_and_its_needs_come_up() -> None:
    agenda = Agenda(_calls((), (0,), (), (1,)), [1], made=())
    assert agenda.take() == 0
    assert list(agenda.ready) == []
    agenda.made(0)
    assert agenda.take() == 1
    agenda.made(1)
    assert not agenda.ready


def test_earliest_ready_call_comes_first() -> None:
    agenda = Agenda(_calls((), (), (0,), ()), [3, 2, 1], made=())
    assert [agenda.take(), agenda.take()] == [0, 1]
    agenda.made(0)
    assert [agenda.take(), agenda.take()] == [2, 3]


def test_what_is_made_already_is_not_made_again() -> None:
    agenda = Agenda(_calls((), (0,)), [1], made={0})
    assert (list(agenda), agenda.take()) == ([1], 1)


def test_call_put_back_waits_for_the_other() -> None:
    agenda = Agenda(_calls((), ()), [0, 1], made=())
    first, second = agenda.take(), agenda.take()
    agenda.wait(second, first)
    assert not agenda.ready
    agenda.made(first)
    assert agenda.take() == second
