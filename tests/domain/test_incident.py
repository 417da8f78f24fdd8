"""The moves of an incident."""

import itertools

import pytest

from mainspring.domain.incident import MOVES, check_move
from mainspring.errors import Conflict


def test_the_moves_are_these_and_no_others() -> None:
    allowed = set()
    for now, wanted in itertools.product(MOVES, MOVES):
        try:
            check_move(now, wanted)
        except Conflict:
            continue
        allowed.add((now, wanted))
    assert allowed == {
        ("triggered", "acknowledged"),
        ("triggered", "mitigated"),
        ("triggered", "resolved"),
        ("acknowledged", "mitigated"),
        ("acknowledged", "resolved"),
        ("mitigated", "acknowledged"),
        ("mitigated", "resolved"),
    }


def test_a_refused_move_names_those_that_are_allowed() -> None:
    with pytest.raises(Conflict, match=r"(?s)mitigated cannot become triggered.*`acknowledged` or `resolved`"):
        check_move("mitigated", "triggered")
    with pytest.raises(Conflict, match="it is closed"):
        check_move("resolved", "acknowledged")
