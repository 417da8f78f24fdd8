"""Settings come from one table, and from the environment when they are asked for."""

from pathlib import Path

import pytest

from mainspring.config import SETTINGS, home, value_of
from mainspring.errors import Invalid


def test_every_setting_has_a_name_a_help_and_an_environment_name() -> None:
    assert len({each.name for each in SETTINGS}) == len({each.env for each in SETTINGS}) == len(SETTINGS)
    for each in SETTINGS:
        assert each.help
        assert each.env.startswith("MAINSPRING_")
        assert value_of(each.name) == each.default


def test_the_environment_counts_when_it_says_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_ACTOR", "eve")
    assert value_of("actor") == "eve"
    monkeypatch.setenv("MAINSPRING_HOME", "")
    assert value_of("home") == ".mainspring"


def test_an_unknown_setting_is_refused_with_the_nearest() -> None:
    with pytest.raises(Invalid, match="Did you mean `actor`"):
        value_of("actr")


def test_the_home_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert home() == tmp_path / ".mainspring"
    monkeypatch.setenv("MAINSPRING_HOME", "~/there")
    assert home() == Path("~/there").expanduser()
