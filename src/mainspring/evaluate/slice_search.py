"""Find the slices where a model loses most, without being told where to look.

All values and fifths of every column, and all pairs of them from two columns, are tried. Looking at thousands of slices
finds bad luck in some, so a slice is reported only when a lower bound of its excess loss stays above zero after
dividing the error among all slices tried, and ranked by that bound: a small wild slice does not beat a large sure one.

The question and the pruning follow Chung et al. 2019, Slice Finder, ICDE (arXiv 1807.06068): prefer few conditions,
and demand significance and effect. Correction is plain Bonferroni instead of their alpha-investing, which depends on
the order in which slices are visited.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mainspring.domain.signature import Task
from mainspring.errors import Invalid
from mainspring.evaluate.distributions import t_quantile
from mainspring.evaluate.intervals import deal_blocks
from mainspring.evaluate.metrics import Floats, Ints
from mainspring.evaluate.slices import Columns, Condition, Slice, conditions_of, measure_slice

__all__ = ["search_slices"]

#: Rows of no group are dealt into this many, so that both cases share one formula for the error.
_DEALT_GROUPS = 200


class _Found(NamedTuple):
    """A slice tried: how much more is lost inside than outside, its standard error, and the groups it has rows of."""

    conditions: tuple[Condition, ...]
    excess: float
    error: float
    groups: int


class _Coded(NamedTuple):
    """One column as disjoint conditions and each row's index among them, the last index standing for none."""

    conditions: list[Condition]
    code: Ints


def search_slices(
    task: Task,
    y: NDArray[np.generic],
    scores: NDArray[np.generic],
    columns: Columns,
    losses: Floats,
    *,
    metric: str | None = None,
    groups: NDArray[np.generic] | None = None,
    min_rows: int = 100,
    most: int = 10,
    level: float = 0.95,
    depth: int = 2,
    threshold: float = 0.5,
    classes: Sequence[str] = (),
) -> list[Slice]:
    """Return up to `most` slices that lose truly more than the rest of the rows, the surest excess first.

    `losses` (n,) are per-row losses (`losses.loss`); `groups` names correlated rows, such as their day. With a chance
    of at least `level` every bound `excess_low` holds at once. A pair is kept only when its bound beats those of its
    two conditions alone. Cost: one pass over the rows for each pair of columns.

    Raises:
        Invalid: a column has another length than `losses`, or `depth` is not 1 or 2.
    """
    if depth not in (1, 2):
        raise Invalid(f"depth is {depth}", where="depth", next_step="1 looks at single conditions, 2 also at pairs")
    for name, values in columns.items():
        if len(values) != losses.size:
            raise Invalid(f"Column `{name}` has {len(values)} rows for {losses.size} losses", where=f"columns.{name}")
    group, size = deal_blocks(losses.size, groups, np.random.default_rng(0))
    if groups is None:
        size = max(1, min(size, _DEALT_GROUPS))
        group = group % size
    if size < 2:
        return []
    coded = [_code(name, values, min_rows) for name, values in columns.items()]
    tried = [found for each in coded for found in _try(each.conditions, each.code, losses, group, size, min_rows)]
    if depth == 2:
        tried += [
            found
            for first in range(len(coded))
            for second in range(first + 1, len(coded))
            for found in _try_pairs(coded[first], coded[second], losses, group, size, min_rows)
        ]
    if not tried:
        return []
    # a slice seen on few days knows its spread badly, hence degrees of freedom of its own
    tail = (1 - level) / len(tried)
    quantiles = {count: t_quantile(1 - tail, count - 1) for count in {each.groups for each in tried}}
    bounds = {each.conditions: each.excess - quantiles[each.groups] * each.error for each in tried}
    kept = sorted((each for each in bounds if _is_worth_saying(each, bounds)), key=lambda each: -bounds[each])[:most]
    return [
        measure_slice(
            conditions,
            np.logical_and.reduce([each.holds(columns) for each in conditions]),
            task,
            y,
            scores,
            losses,
            metric=metric,
            threshold=threshold,
            classes=classes,
            groups=groups,
            excess_low=bounds[conditions],
        )
        for conditions in kept
    ]


def _is_worth_saying(conditions: tuple[Condition, ...], bounds: dict[tuple[Condition, ...], float]) -> bool:
    bound = bounds[conditions]
    return bound > 0 and all(bound > bounds.get((each,), 0.0) for each in conditions if len(conditions) > 1)


def _code(name: str, values: NDArray[np.generic], min_rows: int) -> _Coded:
    conditions, code = conditions_of(name, values, min_rows)
    return _Coded(conditions, np.where(code < 0, len(conditions), code))


def _try_pairs(
    first: _Coded, second: _Coded, losses: Floats, group: Ints, groups: int, min_rows: int
) -> Iterator[_Found]:
    """Try every condition of one column with every condition of another, in one pass."""
    width = len(second.conditions)
    none = len(first.conditions) * width
    neither = (first.code == len(first.conditions)) | (second.code == width)
    code = np.where(neither, none, first.code * width + second.code)
    pairs = [(one, two) for one in first.conditions for two in second.conditions]
    return _try(pairs, code, losses, group, groups, min_rows)


def _try(
    cells: Sequence[Condition | tuple[Condition, ...]],
    code: Ints,
    losses: Floats,
    group: Ints,
    groups: int,
    min_rows: int,
) -> Iterator[_Found]:
    """Yield the excess loss of each cell of rows, with its error clustered by group.

    The excess is mean inside minus mean outside; each group moves it by its summed deviations over the rows of either
    side, and the spread of these moves is the variance (sandwich estimate, as in `intervals.clustered_mean`).
    """
    shape = (groups, len(cells) + 1)
    place = group * shape[1] + code
    rows = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    lost = np.bincount(place, weights=losses, minlength=shape[0] * shape[1]).reshape(shape)
    group_rows, group_lost = rows.sum(1, keepdims=True), lost.sum(1, keepdims=True)
    inside, total = rows.sum(0), float(losses.size)
    spread = (rows > 0).sum(0)
    usable = (inside >= min_rows) & (total - inside >= min_rows) & (spread > 1)
    usable[-1] = False
    rows, lost, inside = rows[:, usable], lost[:, usable], inside[usable]
    outside = total - inside
    mean_in, mean_out = lost.sum(0) / inside, (losses.sum() - lost.sum(0)) / outside
    moves = (lost - mean_in * rows) / inside - ((group_lost - lost) - mean_out * (group_rows - rows)) / outside
    errors = np.sqrt(groups / (groups - 1) * (moves**2).sum(0))
    for index, excess, error in zip(np.flatnonzero(usable).tolist(), mean_in - mean_out, errors, strict=True):
        cell = cells[index]
        conditions = (cell,) if isinstance(cell, Condition) else cell
        yield _Found(conditions, float(excess), float(error), int(spread[index]))
