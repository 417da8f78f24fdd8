"""Errors: each has a code, a status and an exit code, says where and what next, and crosses process borders."""

import pickle

import pytest

from mainspring import errors
from mainspring.errors import OUTCOMES, Invalid, MainspringError, MissingExtra, nearest, outcome_of

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MainspringError)]


def test_every_error_has_a_code_of_its_own_and_an_outcome() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    assert set(codes) == set(OUTCOMES)
    assert all(400 <= outcome.http_status < 600 and 1 <= outcome.exit_code <= 3 for outcome in OUTCOMES.values())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling(kind: type[MainspringError]) -> None:
    again = pickle.loads(pickle.dumps(kind("what", where="there", next_step="do")))
    assert type(again) is kind
    assert str(again) == "what (at there)\n  Next: do"


def test_the_parts_that_are_missing_leave_no_trace() -> None:
    assert str(Invalid("what")) == "what"
    assert str(Invalid("what", where="x")) == "what (at x)"


def test_an_unforeseen_error_is_internal() -> None:
    assert outcome_of(ValueError()) == OUTCOMES["internal"]
    assert outcome_of(Invalid("x")).exit_code == 2


def test_a_missing_extra_names_the_command() -> None:
    assert "pip install 'mainspring[ml]'" in str(MissingExtra.of("ml", "pandas", "Reading frames"))


def test_hints_name_the_nearest_or_all() -> None:
    assert nearest("x", []) == "There are none yet"
    assert nearest("a", [f"name{n}" for n in range(20)]).endswith("and 8 more")
    assert nearest("carier", {"carrier": 1, "origin": 2}) == "Did you mean `carrier`?"
