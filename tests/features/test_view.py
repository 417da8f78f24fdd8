"""The words of a view: what is refused, and what its version hangs on."""

import copy
import pickle
from datetime import timedelta
from typing import Any

import pytest

from mainspring.errors import Corrupt, Invalid
from mainspring.features import FeatureView

WORDS: dict[str, Any] = {"source": "trips", "keys": "id", "time": "at", "features": {"a": "x", "b": "sum(x) OVER week"}}


def view(**words: Any) -> FeatureView:
    return FeatureView(words.pop("name", "stats"), **{**WORDS, "windows": {"week": "7d"}, **words})


def test_the_version_hangs_on_what_decides_a_value_and_on_nothing_else() -> None:
    first = view()
    assert len(first.version) == 32
    assert first.reference == f"stats/{first.version[:12]}"
    assert first.version == view(source="elsewhere/3").version == view(name="other").version
    assert first.version == view(keys=["id"], windows={"week": timedelta(days=7)}, delay="0s").version
    changed = [
        view(features={"a": "y", "b": "sum(x) OVER week"}), view(windows={"week": "8d"}), view(windows={"week": 7}),
        view(delay="1h"), view(ttl="1d"), view(keys=["id", "site"]), view(time="t"),
    ]  # fmt: skip
    assert len({each.version for each in [first, *changed]}) == 8


def test_a_view_survives_json_and_pickle() -> None:
    made = view(windows={"week": "7d", "few": 3}, delay="90s", ttl="2d", keys=["id", "site"])
    assert FeatureView.from_json(made.to_json()) == made
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made
    with pytest.raises(Corrupt):
        FeatureView.from_json({"name": "x"})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"name": "a-b"}, "cannot name a view"),
        ({"keys": []}, "needs keys"),
        ({"keys": ["id", "id"]}, "needs keys"),
        ({"features": {}}, "needs a feature"),
        ({"features": {"id": "x"}}, "names a key"),
        ({"features": {"x": "x", "X": "y"}}, "names a key, the time, or another"),
        ({"features": {"x y": "x"}}, "cannot name a feature"),
        ({"windows": {"history": "1d"}}, "there anyway"),
        ({"windows": {"w": 0}}, "window of 0 rows"),
        ({"windows": {"w": "soon"}}, "not a duration"),
        ({"delay": timedelta(-1)}, "sees the future"),
        ({"ttl": timedelta(0)}, "too short"),
    ],
)
def test_words_that_make_no_view_are_told(words: dict[str, Any], told: str) -> None:
    with pytest.raises(Invalid, match=told):
        view(**words)
