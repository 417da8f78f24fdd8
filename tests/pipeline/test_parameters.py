"""Parameters read from words such as ``c=0.5``."""

import enum
from pathlib import Path
from typing import Any, Literal

import pytest

from mainspring.errors import Invalid
from mainspring.pipeline.parameters import parameters_of, parse_parameters
from mainspring.pipeline.step import pipeline


class Kind(enum.Enum):
    FAST = 1
    SLOW = 2


@pipeline
def many(
    path: str,
    n: int = 1,
    c: float = 1.0,
    deep: bool = False,
    folder: Path = Path(),
    names: list[str] | None = None,
    mode: Literal["a", "b", 3] = "a",
    kind: Kind = Kind.FAST,
    limit: int | str | None = None,
    pair: tuple[int, int] = (1, 2),
    anything=None,  # type: ignore[no-untyped-def]
) -> None: ...


def test_parameters_tell_types_and_defaults() -> None:
    found = {each.name: each for each in parameters_of(many)}
    assert (found["path"].required, found["n"].required, found["n"].default) == (True, False, 1)
    assert [found[name].type_name for name in ("path", "n", "anything")] == ["str", "int", "any"]
    assert found["names"].type_name == "list[str] | None"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("n=5", 5),
        ("c=2", 2.0),
        ("c=1e-3", 0.001),
        ("deep=yes", True),
        ("deep=False", False),
        ("folder=a/b", Path("a/b")),
        ('names=["x"]', ["x"]),
        ("names=none", None),
        ("mode=b", "b"),
        ("mode=3", 3),
        ("kind=SLOW", Kind.SLOW),
        ("limit=7", 7),
        ("limit=x", "x"),
        ("limit=", None),
        ("pair=[3, 4]", (3, 4)),
        ('anything={"a": 1}', {"a": 1}),
        ("anything=plain text", "plain text"),
        ("path=a=b", "a=b"),
    ],
)
def test_word_is_read_by_its_annotation(word: str, value: Any) -> None:
    name = word.partition("=")[0]
    words = [word] if name == "path" else ["path=p", word]
    found = parse_parameters(many, words)[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("n=5.5", "not a whole number"),
        ("c=big", "not a number"),
        ("deep=maybe", "true or false"),
        ("nn=5", "`n`"),
        ("n", "not name=value"),
        ("mode=z", "a | b | 3"),
        ("kind=MEDIUM", "FAST | SLOW"),
        ("names=x", "JSON"),
        ('names={"a": 1}', "list"),
    ],
)
def test_word_that_does_not_fit_is_told(word: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_parameters(many, ["path=p", word])
    assert said in str(caught.value)


def test_missing_parameter_is_told() -> None:
    with pytest.raises(Invalid, match="needs a value for `path`"):
        parse_parameters(many, ["n=5"])
