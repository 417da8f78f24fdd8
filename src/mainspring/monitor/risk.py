"""Has the model become harmful? Alerts from the loss on labelled production rows, safe to look at every hour.

At registration a `Baseline` is taken from the hold-out. In production losses are averaged by group (a day), because
rows of a day share its weather: 900 flights of one storm are closer to one observation than to 900. Day means go
through the e-detector of `evaluate.detector`, so a good past hides no new decay and peeking costs nothing.
Harmless drift of the inputs changes no loss and raises nothing. After Podkopaev & Ramdas 2022, arXiv 2110.06177.
`canary_verdict` answers the other question with the same honesty: is the canary worse than the champion?
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.errors import Invalid
from mainspring.evaluate import sequential
from mainspring.evaluate.detector import LEAST_ALPHA, detect, lower_bound
from mainspring.evaluate.distributions import chi2_sf, solve, t_quantile
from mainspring.evaluate.metrics import Floats
from mainspring.evaluate.sequential import SequentialState

__all__ = [
    "ALPHA",
    "RECENT",
    "TOLERANCE",
    "Backtest",
    "Baseline",
    "Block",
    "CanaryVerdict",
    "RiskState",
    "RiskVerdict",
    "backtest",
    "baseline",
    "canary_verdict",
    "correct",
    "limit_of",
    "observe",
    "verdict",
]

#: Rise of the mean loss that nobody needs to hear of. Relative, because losses have no unit of their own; a tenth,
#: because ordinary weeks differ by about that much and retraining seldom wins back less.
TOLERANCE = 0.10
#: One false alarm in 500 blocks on average, if the risk sat exactly at the limit all that time; with daily blocks that
#: is one in 16 months, and with the risk at its baseline it is hardly ever.
ALPHA = 0.002
#: Blocks from which on the hold-out says how far blocks spread.
_LEAST_BLOCKS = 5
#: Blocks remembered. Forgetting old starts only lowers the evidence, so the guarantee stays.
_MOST_BLOCKS = 400
#: Blocks in `RiskVerdict.live_mean`: four weeks of days.
RECENT = 28


@dataclass(frozen=True, slots=True)
class Baseline:
    """The loss on the hold-out: mean of block means, its one-sided 95 % upper bound, and how many blocks and rows.

    `spread` is the 95 % upper bound of the deviation of block means; None where it is not known.
    """

    mean: float
    upper: float
    n: int
    rows: int
    spread: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """Return JSON-able fields; ``Baseline(**fields)`` reads them back."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Block:
    """The losses of one group of rows that came together, such as a day: how many, and their sum."""

    name: str
    rows: int
    total: float

    @property
    def mean(self) -> float:
        """The mean loss of the block's rows."""
        return self.total / self.rows


@dataclass(frozen=True, slots=True)
class RiskState:
    """The blocks seen so far, in the order of their names; everything else follows from them."""

    blocks: tuple[Block, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        return {"blocks": [[each.name, each.rows, each.total] for each in self.blocks]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Sequence[tuple[str, int, float]]]) -> "RiskState":
        """Read what `to_json` gave."""
        return cls(tuple(Block(str(name), int(rows), float(total)) for name, rows, total in fields["blocks"]))


@dataclass(frozen=True, slots=True)
class RiskVerdict:
    """Whether the live risk is proven to be over its limit now.

    ``decayed`` says that `lower`, the proven lower bound of the risk in some stretch of blocks that lasts until now, is
    over `limit`; the same as `evidence` reaching 1/alpha. `since` names the block where the likeliest bad stretch
    began ("" when there is none). `live_mean` is the mean of the last 28 blocks (NaN before the first), `n` and `rows`
    count the blocks and rows seen.
    """

    status: Literal["quiet", "decayed"]
    live_mean: float
    lower: float
    limit: float
    evidence: float
    n: int
    rows: int
    since: str

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields; an undefined mean becomes None."""
        return asdict(self) | {"live_mean": None if math.isnan(self.live_mean) else self.live_mean}


@dataclass(frozen=True, slots=True)
class Backtest:
    """What a rule would have done over `windows` past windows: those after which it stood at ``decayed``.

    `episodes` counts separate alarms, consecutive windows are one; `began` names the first window of each.
    """

    windows: int
    alerts: tuple[str, ...]
    episodes: int
    began: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        return asdict(self)

    def __str__(self) -> str:
        return f"this rule would have alerted {self.episodes} times in the last {self.windows} windows"


@dataclass(frozen=True, slots=True)
class CanaryVerdict:
    """The canary's mean loss minus the champion's on the same rows, bounded at all times, and what follows."""

    verdict: Literal["worse", "no worse", "undecided"]
    difference: float
    low: float
    high: float
    n: int


def baseline(losses: Floats, groups: NDArray[np.generic] | None = None) -> Baseline:
    """Take the baseline from hold-out losses (n,), averaged by group so that a busy day weighs as much as a quiet one.

    The bound is Student's t on block means: exact for even groups of normal means, close for real days, optimistic
    when whole weeks go together. Without groups rows count as independent.

    Raises:
        Invalid: there are no losses, or one is missing or negative.
    """
    values = _checked(losses)
    if not values.size:
        raise Invalid("There are no losses to take a baseline from", where="losses", next_step="score the hold-out")
    means = values
    if groups is not None:
        names, place = np.unique(groups, return_inverse=True)
        means = np.bincount(place, weights=values, minlength=names.size) / np.bincount(place, minlength=names.size)
    mean = float(means.mean())
    spread = float(means.std(ddof=1)) if means.size > 1 else math.inf
    half = 0.0 if spread == 0 else t_quantile(0.95, max(means.size - 1, 1)) * spread / math.sqrt(means.size)
    # losses are at most 1, and so is their mean
    return Baseline(mean, min(1.0, mean + half), means.size, values.size, _spread_at_most(spread, means.size))


def limit_of(base: Baseline, tolerance: float = TOLERANCE) -> float:
    """Return the risk that must be exceeded for an alarm: the baseline's upper bound plus the tolerated rise.

    The bound allows for what the hold-out left unknown, the tolerance for what is known and accepted; as in Podkopaev &
    Ramdas 2022, section 2. Taking only the larger of the two finds a decay some five days sooner, but in simulated
    years of weather-like days after two weeks of hold-out it doubled the false alarms, nearly all of them from
    hold-outs that were lucky. The cure for a high limit is a longer hold-out.
    """
    return base.upper + tolerance * base.mean


def observe(state: RiskState, losses: Floats, groups: NDArray[np.generic] | None = None) -> RiskState:
    """Return the state after more labelled rows: `losses` (n,) at or above zero, and each row's group.

    Group names must sort by time as text, as ISO dates do; days as datetime64 become such text. Rows of a group that
    is already there join it, so labels may come late and in any order. Without groups each call is one block, numbered
    on; a state is fed either way, not both.

    Raises:
        Invalid: a loss is missing or negative, or there are not as many groups as losses.
    """
    values = _checked(losses)
    if not values.size:
        return state
    if groups is None:
        number = int(state.blocks[-1].name) + 1 if state.blocks else 0
        names, place = [f"{number:012d}"], np.zeros(values.size, dtype=np.intp)
    else:
        if len(groups) != values.size:
            raise Invalid(f"{len(groups)} groups for {values.size} losses", where="groups", next_step="name one a row")
        distinct, place = np.unique(_texts(groups), return_inverse=True)
        names = distinct.tolist()
    blocks = {each.name: each for each in state.blocks}
    rows, totals = np.bincount(place), np.bincount(place, weights=values)
    for name, more, total in zip(names, rows.tolist(), totals.tolist(), strict=True):
        before = blocks.get(name, Block(name, 0, 0.0))
        blocks[name] = Block(name, before.rows + more, before.total + total)
    return RiskState(tuple(blocks[name] for name in sorted(blocks))[-_MOST_BLOCKS:])


def correct(state: RiskState, changes: Floats, groups: NDArray[np.generic]) -> RiskState:
    """Return the state after rows that are in it got other labels: by how much each loss (n,) changed, and its group.

    A group that is no longer remembered stays forgotten.
    """
    distinct, place = np.unique(_texts(groups), return_inverse=True)
    changed = dict(zip(distinct.tolist(), np.bincount(place, weights=changes).tolist(), strict=True))
    # sums of binary fractions: what is taken out again may miss zero by a little
    return RiskState(
        tuple(replace(each, total=max(0.0, each.total + changed.get(each.name, 0.0))) for each in state.blocks)
    )


def verdict(state: RiskState, base: Baseline, *, tolerance: float = TOLERANCE, alpha: float = ALPHA) -> RiskVerdict:
    """Say whether the risk is proven to be over `limit_of` the baseline now; may be asked at any time.

    Guarantee: while every block's expected loss given the past is at most the limit, the mean time to a false alarm is
    at least 1/alpha blocks (see `evaluate.detector`). It is a rate, not a chance over the model's life, and it takes
    the limit as given: one hold-out in twenty has a true mean above `base.upper`, more where whole weeks go together.
    The evidence falls again when the model recovers, so an alarm also ends by itself. Feed whole days: a day judged
    half full is one look more.

    Raises:
        Invalid: `alpha` is not between 0.001 and 1, or the limit is zero.
    """
    limit = _checked_limit(base, tolerance, alpha)
    means, spreads = np.array([each.mean for each in state.blocks]), _spreads(state, base)
    found = detect(means, limit, spreads)
    evidence = float(found.by_time[-1]) if means.size else 0.0
    return RiskVerdict(
        "decayed" if evidence >= 1 / alpha else "quiet",
        float(means[-RECENT:].mean()) if means.size else math.nan,
        lower_bound(means, alpha, spreads),
        limit,
        evidence,
        means.size,
        sum(each.rows for each in state.blocks),
        "" if found.since is None else state.blocks[found.since].name,
    )


def backtest(state: RiskState, base: Baseline, *, tolerance: float = TOLERANCE, alpha: float = ALPHA) -> Backtest:
    """Replay the rule of `verdict` over past blocks, as if it had been asked when each was over.

    Shown before a rule is armed, so that its owner knows how often it would have called.

    Raises:
        Invalid: `alpha` is not between 0.001 and 1, or the limit is zero.
    """
    limit = _checked_limit(base, tolerance, alpha)
    names = [each.name for each in state.blocks]
    means = np.array([each.mean for each in state.blocks])
    decayed = detect(means, limit, _spreads(state, base)).by_time >= 1 / alpha
    begins = decayed & ~np.concatenate([[False], decayed[:-1]]) if decayed.size else decayed
    began = tuple(names[each] for each in np.flatnonzero(begins))
    return Backtest(len(names), tuple(names[each] for each in np.flatnonzero(decayed)), len(began), began)


def canary_verdict(state: SequentialState, *, margin: float = 0.0, alpha: float = 0.05) -> CanaryVerdict:
    """Judge a canary by paired loss differences, canary minus champion, kept in a `sequential` state of range -1..1.

    ``worse`` when the difference is proven to be above `margin`, ``no worse`` when it is proven to be below; each is
    wrong with a chance of at most `alpha` over all looks together. With a margin of zero two equal models stay
    ``undecided`` for ever; a hundredth of the loss's range is a sensible margin.

    Both models scored the same rows, so what makes a row hard for both cancels and rows may be fed one by one. That
    speaks of the traffic seen so far, which is the question of a rollout of minutes or hours. It does not speak of days
    to come: a model that expects more delays wins every row of a stormy week. Before a promotion for good, compare over
    days with `evaluate.compare` and groups, or feed day means here (a month of them at least).

    >>> state = sequential.update(sequential.start(-1, 1), np.full(2_000, 0.1))
    >>> canary_verdict(state, margin=0.01).verdict
    'worse'
    """
    low, high = sequential.lower(state, alpha), sequential.upper(state, alpha)
    said: Literal["worse", "no worse", "undecided"] = (
        "worse" if low > margin else "no worse" if high < margin else "undecided"
    )
    return CanaryVerdict(said, sequential.mean(state), low, high, state.n)


def _spread_at_most(spread: float, blocks: int) -> float | None:
    """Return the one-sided 95 % upper bound of the deviation of which `spread` was seen in so many blocks."""
    if blocks < _LEAST_BLOCKS or not spread > 0:
        return None
    degrees = blocks - 1
    return spread * math.sqrt(degrees / solve(lambda x: 0.95 - chi2_sf(x, degrees), start=degrees))


def _spreads(state: RiskState, base: Baseline) -> Floats | None:
    """Return the spread of each block: a block of fewer rows than those of the hold-out may spread further."""
    if base.spread is None:
        return None
    rows = np.array([each.rows for each in state.blocks])
    return base.spread * np.sqrt(np.maximum(1.0, base.rows / base.n / rows))


def _checked_limit(base: Baseline, tolerance: float, alpha: float) -> float:
    limit = limit_of(base, tolerance)
    if not LEAST_ALPHA <= alpha < 1:
        raise Invalid(f"alpha is {alpha}", where="alpha", next_step="0.002 is one false alarm in 500 blocks at worst")
    if limit <= 0:
        raise Invalid("A baseline without any loss has no relative limit", where="baseline", next_step="use more rows")
    return limit


def _checked(losses: Floats) -> Floats:
    values = np.asarray(losses, dtype=np.float64).ravel()
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise Invalid(
            f"The loss {values[bad][0]} is missing or negative",
            where=f"losses[{int(bad.argmax())}]",
            next_step="make losses with evaluate.losses.loss",
        )
    return values


def _texts(groups: NDArray[np.generic]) -> NDArray[np.str_]:
    names = np.asarray(groups)
    if names.dtype.kind == "M":
        days = names.astype("datetime64[D]")
        return np.datetime_as_string(days if (days == names).all() else names)
    # numbers as text sort by time only when they are equally long
    return np.char.zfill(names.astype(np.str_), 12) if names.dtype.kind in "iu" else names.astype(np.str_)
