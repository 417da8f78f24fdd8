"""What a loop is made of: gates, approval, rollout, monitor and retraining, as plain data.

These are the words a user writes in ``loop.py``. They decide nothing here: `registry` reads the gates, `loop` the
rest, so that every choice can be shown on a page and stored with the version it was made for.
"""

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from mainspring.domain.moments import parse_duration
from mainspring.errors import Invalid

__all__ = [
    "Approval",
    "BeatsChampion",
    "Canary",
    "Gate",
    "Latency",
    "Monitor",
    "Replay",
    "Retrain",
    "Soak",
    "WorstSlice",
    "automatic",
    "beats_champion",
    "by",
    "canary",
    "latency",
    "monitor",
    "replay",
    "retrain",
    "soak",
    "worst_slice",
]


@dataclass(frozen=True, slots=True)
class BeatsChampion:
    """The candidate must not lose to the champion on the hold-out, by a paired test."""

    name: str = "beats_champion"
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class WorstSlice:
    """The goal's metric must reach `floor` in every declared slice with at least `min_rows` rows."""

    floor: float
    min_rows: int = 500
    name: str = "worst_slice"


@dataclass(frozen=True, slots=True)
class Latency:
    """A one-row prediction must take at most `p99_ms` milliseconds at the 99th percentile."""

    p99_ms: float
    name: str = "latency"


@dataclass(frozen=True, slots=True)
class Replay:
    """Up to `rows` logged production rows go through the candidate: it must answer all, and where labels are known
    its loss must not be worse than the champion's by a paired test."""

    rows: int
    level: float = 0.95
    name: str = "replay"


Gate = BeatsChampion | WorstSlice | Latency | Replay


@dataclass(frozen=True, slots=True)
class Approval:
    """Who must agree before a version serves; `role` None means that passing the gates is enough."""

    role: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class Canary:
    """Shares of traffic in percent, one after the other; each must hold for `bake` and `min_rows` labelled rows."""

    stages: tuple[float, ...]
    bake: timedelta
    min_rows: int = 200


@dataclass(frozen=True, slots=True)
class Soak:
    """A canary keeps its share until people have reviewed so many of its answers, or for `period` at most."""

    reviews: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class Monitor:
    """In blocks of which length live quality is looked at, and how much worse than at registration it may be.

    `tolerance` is a share of the loss on the hold-out. `alpha` bounds false alarms: while quality is within the
    tolerance, 1/alpha blocks pass on average before one, however often it is looked at.
    """

    every: timedelta
    tolerance: float = 0.10
    alpha: float = 0.002


@dataclass(frozen=True, slots=True)
class Retrain:
    """What an incident leads to, with the guards that keep it from running wild."""

    mode: Literal["suggest", "retrain", "canary"]
    cooldown: timedelta
    max_per_week: int
    min_new_labels: int


def beats_champion(*, level: float = 0.95) -> BeatsChampion:
    """Ask that a candidate is not worse than the champion on the hold-out; with no champion the gate passes."""
    return BeatsChampion(level=_share(level, "level"))


def worst_slice(floor: float, *, min_rows: int = 500) -> WorstSlice:
    """Ask that the goal's metric reaches `floor` in every slice of at least `min_rows` hold-out rows."""
    return WorstSlice(floor, min_rows=_at_least(min_rows, 1, "min_rows"))


def latency(*, p99_ms: float) -> Latency:
    """Ask that one row is answered within `p99_ms` milliseconds at the 99th percentile, measured on this machine."""
    if not p99_ms > 0:
        raise Invalid(f"p99_ms is {p99_ms}", where="latency(p99_ms)", next_step="give milliseconds above zero")
    return Latency(p99_ms)


def replay(rows: int = 10_000, *, level: float = 0.95) -> Replay:
    """Ask that the candidate stands the last `rows` production rows; with no traffic yet the gate passes."""
    return Replay(_at_least(rows, 1, "rows"), level=_share(level, "level"))


def by(role: str, *, count: int = 1) -> Approval:
    """Ask for the approval of `count` people of `role`, none of them the author."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", role):
        raise Invalid(f"`{role}` is not a role", where="by(role)", next_step="use lower-case letters, such as reviewer")
    return Approval(role, _at_least(count, 1, "count"))


#: No person is asked; the gates decide.
automatic = Approval()


def canary(*stages: float, bake: str = "10m", min_rows: int = 200) -> Canary:
    """Send `stages` percent of the traffic to a new version, one stage after the other.

    >>> canary(5, 25, 100, bake="2d").stages
    (5, 25, 100)

    Raises:
        Invalid: the stages do not rise to 100.
    """
    if not stages or list(stages) != sorted(set(stages)) or stages[0] <= 0 or stages[-1] != 100:
        raise Invalid(f"The stages {stages} do not rise to 100", where="canary(...)", next_step="canary(5, 25, 100)")
    return Canary(tuple(stages), parse_duration(bake), _at_least(min_rows, 1, "min_rows"))


def soak(reviews: int = 50, *, period: str = "7d") -> Soak:
    """Let a canary wait until people have reviewed `reviews` of its answers (also as a shadow), or `period` is over."""
    return Soak(_at_least(reviews, 1, "reviews"), parse_duration(period))


def monitor(*, every: str = "1d", tolerance: float = 0.10, alpha: float = 0.002) -> Monitor:
    """Watch live quality in blocks of `every`; alarm when the loss is surely over the hold-out's by `tolerance`."""
    if not 0 <= tolerance < math.inf:
        raise Invalid(f"tolerance is {tolerance}", where="monitor(tolerance)", next_step="give a share, such as 0.1")
    return Monitor(parse_duration(every), tolerance, _share(alpha, "alpha"))


def retrain(
    mode: Literal["suggest", "retrain", "canary"] = "suggest",
    *,
    cooldown: str = "1d",
    max_per_week: int = 3,
    min_new_labels: int = 500,
) -> Retrain:
    """Say what an incident of quality leads to.

    `suggest` writes the advice into the incident; `retrain` trains and runs the gates; `canary` also rolls out.
    """
    if mode not in ("suggest", "retrain", "canary"):
        raise Invalid(f"`{mode}` is no mode", where="retrain(mode)", next_step="use suggest, retrain or canary")
    return Retrain(
        mode,
        parse_duration(cooldown),
        _at_least(max_per_week, 1, "max_per_week"),
        _at_least(min_new_labels, 0, "min_new_labels"),
    )


def _share(value: float, name: str) -> float:
    if not 0 < value < 1:
        raise Invalid(f"{name} is {value}", where=name, next_step="give a share between 0 and 1")
    return value


def _at_least(value: int, least: int, name: str) -> int:
    if value < least:
        raise Invalid(f"{name} is {value}", where=name, next_step=f"give a whole number of at least {least}")
    return value
