"""The words of a loop refuse what cannot be meant."""

import math
from datetime import timedelta

import pytest

from mainspring.domain.policy import (
    BeatsChampion,
    Latency,
    Replay,
    WorstSlice,
    automatic,
    beats_champion,
    by,
    canary,
    latency,
    monitor,
    replay,
    retrain,
    worst_slice,
)
from mainspring.errors import Invalid


def test_words_become_data() -> None:
    assert beats_champion(level=0.9) == BeatsChampion(level=0.9)
    assert worst_slice(0.6, min_rows=9) == WorstSlice(0.6, 9)
    assert latency(p99_ms=20) == Latency(20)
    assert replay(5) == Replay(5)
    assert (by("reviewer", count=2).role, by("reviewer", count=2).count, automatic.role) == ("reviewer", 2, None)
    assert canary(5, 25, 100, bake="2d").bake == timedelta(days=2)
    assert monitor(every="1h").every == timedelta(hours=1)
    assert retrain().mode == "suggest"


@pytest.mark.parametrize(
    "words",
    [
        lambda: beats_champion(level=1),
        lambda: beats_champion(level=math.nan),
        lambda: worst_slice(0.5, min_rows=0),
        lambda: latency(p99_ms=0),
        lambda: latency(p99_ms=math.nan),
        lambda: replay(0),
        lambda: replay(level=0),
        lambda: by("Reviewer"),
        lambda: by(""),
        lambda: by("r", count=0),
        lambda: canary(),
        lambda: canary(5, 25),
        lambda: canary(25, 5, 100),
        lambda: canary(5, 5, 100),
        lambda: canary(0, 100),
        lambda: canary(5, 100, bake="soon"),
        lambda: canary(5, 100, min_rows=0),
        lambda: monitor(every="0s"),
        lambda: monitor(tolerance=-0.1),
        lambda: monitor(tolerance=math.nan),
        lambda: monitor(tolerance=math.inf),
        lambda: monitor(alpha=0),
        lambda: retrain("always"),  # type: ignore[arg-type]
        lambda: retrain(max_per_week=0),
        lambda: retrain(min_new_labels=-1),
        lambda: retrain(cooldown=""),
    ],
)
def test_what_cannot_be_meant_is_refused(words) -> None:
    with pytest.raises(Invalid):
        words()
