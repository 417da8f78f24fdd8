"""A batch through a model, such that a request fails by its own rows alone.

When a batch fails it is halved until the guilty request stands alone, and that one until its row does. Scores that are
no numbers fail the requests they belong to. Nothing here knows of queues or sockets; it runs in the loop or in a
thread.
"""

import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.row_rules import Broken
from mainspring.errors import MainspringError
from mainspring.serve.asking import Ask
from mainspring.serve.broken_rules import refusal
from mainspring.serve.problems import HttpRefusal, Overloaded
from mainspring.serve.typed import ColumnBlock

if TYPE_CHECKING:
    from mainspring.serve.endpoint import LoadedVersion

__all__ = ["Outcome", "ScoredBlock", "score"]

_log = logging.getLogger(__name__)
_Mask = NDArray[np.bool_]


class ScoredBlock(NamedTuple):
    """Requests that were scored together; `scores` has one line for each row of the block.

    `broken` are row rules that some of the rows break, and are answered nevertheless.
    """

    asks: list[Ask]
    block: ColumnBlock
    scores: NDArray[np.float64]
    broken: Broken | None = None


class Outcome(NamedTuple):
    """What became of a batch."""

    scored: list[ScoredBlock]
    failed: list[tuple[Ask, MainspringError]]
    began: float
    ended: float


def score(asks: list[Ask]) -> Outcome:
    """Score requests of one version together; those whose time is over are failed unscored."""
    loaded = asks[0].loaded
    outcome = Outcome([], [], time.perf_counter(), 0.0)
    late = [ask for ask in asks if ask.deadline < outcome.began]
    for ask in late:
        outcome.failed.append((ask, Overloaded(outcome.began - ask.received.started)))
    if late:
        asks = [ask for ask in asks if ask.deadline >= outcome.began]
    together = [ask for ask in asks if ask.question.rows is not None]
    if together:
        _score_rows(loaded, together, outcome)
    for ask in asks:
        if ask.question.block is not None:
            _score_block(loaded, [ask], ask.question.block, outcome)
    return outcome._replace(ended=time.perf_counter())


def _score_rows(loaded: "LoadedVersion", asks: list[Ask], outcome: Outcome) -> None:
    rows = [row for ask in asks for row in ask.question.rows or ()]
    _score_block(loaded, asks, loaded.typed.block(rows), outcome)


def _score_block(loaded: "LoadedVersion", asks: list[Ask], block: ColumnBlock, outcome: Outcome) -> None:
    broken = None if loaded.row_rules is None else loaded.row_rules.look(block.columns)
    if broken is not None and (stopped := broken.rows("stop")) is not None:
        _refuse(loaded, asks, block, broken, stopped, outcome)
        return
    try:
        scores = _predicted(loaded, block)
    except Exception as error:
        # The model's own code may fail in any way. Halved, so that only the guilty request fails.
        if len(asks) > 1:
            middle = len(asks) // 2
            _score_rows(loaded, asks[:middle], outcome)
            _score_rows(loaded, asks[middle:], outcome)
            return
        _log.exception("version %d of %s failed", loaded.version, loaded.predictor.manifest.name)
        outcome.failed.append((asks[0], _failure(loaded, asks[0], _first_bad(loaded, block), error)))
        return
    good: Any = (
        np.isfinite(scores) if scores.ndim == 1 else np.isfinite(scores).all(axis=1)
    )  # Any: numpy types it as maybe a scalar
    if good.all():
        outcome.scored.append(ScoredBlock(asks, block, scores, broken))
        return
    fine: list[Ask] = []
    start = 0
    for ask in asks:
        mine = good[start : start + ask.n_rows]
        start += ask.n_rows
        if mine.all():
            fine.append(ask)
        else:
            outcome.failed.append((ask, _failure(loaded, ask, int(np.flatnonzero(~mine)[0]), None)))
    if fine:
        _score_rows(loaded, fine, outcome)


def _refuse(
    loaded: "LoadedVersion", asks: list[Ask], block: ColumnBlock, broken: Broken, stopped: _Mask, outcome: Outcome
) -> None:
    """Fail the requests with rows that a rule stops, and score the others."""
    fine: list[Ask] = []
    start = 0
    for ask in asks:
        end = start + ask.n_rows
        if stopped[start:end].any():
            error = refusal(broken, start, end, loaded.typed.names, block.values, ask.question.where)
            outcome.failed.append((ask, error))
        else:
            fine.append(ask)
        start = end
    if fine:
        _score_rows(loaded, fine, outcome)


def _predicted(loaded: "LoadedVersion", block: ColumnBlock) -> NDArray[np.float64]:
    scores = loaded.predictor.predict(block.columns)
    if len(scores) != block.n_rows:
        raise ValueError(f"{len(scores)} scores for {block.n_rows} rows")
    return scores


def _first_bad(loaded: "LoadedVersion", block: ColumnBlock) -> int:
    """Return the first row on which the model fails, by halving; row 0 when it fails on no part alone."""
    first, end = 0, block.n_rows
    while end - first > 1:
        middle = (first + end) // 2
        if _fails(loaded, block, first, middle):
            end = middle
        elif _fails(loaded, block, middle, end):
            first = middle
        else:
            return 0
    return first


def _fails(loaded: "LoadedVersion", block: ColumnBlock, first: int, end: int) -> bool:
    try:
        loaded.predictor.predict({name: values[first:end] for name, values in block.columns.items()})
    except Exception:  # what we are looking for
        return True
    return False


def _failure(loaded: "LoadedVersion", ask: Ask, row: int, error: Exception | None) -> MainspringError:
    """Return what to tell the client: the row is at fault when the model still scores its own example row."""
    model = ask.received.model
    what = f"failed: {type(error).__name__}: {error}" if error else "gave a score that is missing or not finite"
    what = f"Version {loaded.version} of `{model}` {what}"
    if _is_well(loaded):
        next_step = (
            "the model scores its example row, so it is this row that it cannot take; see where its values differ"
        )
        return HttpRefusal(HTTPStatus.UNPROCESSABLE_ENTITY, what, where=f"rows[{row}]", next_step=next_step)
    return MainspringError(
        what,
        where=f"models/{model}/versions/{loaded.version}",
        next_step="the server's log has the trace; roll the version back",
    )


def _is_well(loaded: "LoadedVersion") -> bool:
    example = loaded.predictor.signature.example
    if not example:
        return False
    try:
        return bool(np.isfinite(loaded.predictor.predict(loaded.decoder.rows([example]).columns)).all())
    except Exception:  # what we wanted to know
        return False
