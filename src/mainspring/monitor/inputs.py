"""Are the inputs broken at their source? Day by day, from what sealing counted; no logged row is read.

A fault is told when a column shows one on two days that follow one another: a weather station is silent for a day, and
a sender that was changed stays changed. Such days are not learnt from, so what is ordinary stays so. What is ordinary
is known of the model, and outlives its versions.
"""

from datetime import UTC, datetime, timedelta

from mainspring.data.profile import Profile
from mainspring.domain.policy import Monitor
from mainspring.domain.version import ModelVersion
from mainspring.monitor.finding import Finding
from mainspring.monitor.input_faults import MOST_BLOCKS, BlockSummary, input_faults, renamed_from, summarize
from mainspring.monitor.quality import block_now
from mainspring.monitor.standing import keep_standing, read_standing
from mainspring.predictions.log import PredictionLog
from mainspring.store.protocol import Store

__all__ = ["INPUT_RULE", "watch_inputs"]

INPUT_RULE = "inputs"
#: Shorter blocks would compare nights with days.
_LEAST_WIDTH = timedelta(days=1)


def watch_inputs(
    store: Store,
    log: PredictionLog,
    version: ModelVersion,
    reference: Profile,
    rule: Monitor,
    *,
    is_open: bool,
    now: datetime,
) -> Finding | None:
    """Look at the days that are over and say which columns are broken now; None when none is.

    `version` is the champion, and `reference` its profile. `is_open` says whether the incident of the last finding is
    open. If somebody closed it, the change was meant, and what is ordinary is learnt anew.
    """
    state = read_standing(store, version.model, 0, INPUT_RULE)
    if state.get("told") and not is_open:
        state = {"until": state["until"]}
    past = [BlockSummary.from_json(each) for each in state.get("blocks", [])]
    odd = [BlockSummary.from_json(each) for each in state.get("odd", [])]
    faults: dict[str, str] = state.get("faults", {})
    told: dict[str, str] = state.get("told", {})
    width = max(rule.every, _LEAST_WIDTH)
    end = block_now(now, width).astype(datetime).replace(tzinfo=UTC)
    for start in _new_blocks(state.get("until"), end, width):
        counts = log.counted(version.model, reference, since=start, until=start + width, version=version.version)
        if not counts.rows:
            continue
        block = summarize(start.isoformat(), reference, counts)
        before, faults = faults, input_faults(past, block)
        told = {column: said for column, said in faults.items() if column in before}
        if told:
            odd = []
        else:  # what was odd for one day only is how the world is at times
            past = [*past, *odd, *([] if faults else [block])][-MOST_BLOCKS:]
            odd = [block] if faults else []
        earlier = start - MOST_BLOCKS * width
        for column in told:
            then = log.counted(version.model, reference, since=earlier, until=start - width, version=version.version)
            if gone := renamed_from(reference, then, counts, column):
                told[column] += f"; `{gone}` is gone, so it was probably renamed"
    if end.isoformat() != state.get("until"):
        blocks = {"blocks": [each.to_json() for each in past], "odd": [each.to_json() for each in odd]}
        kept = {**blocks, "faults": faults, "told": told, "until": end.isoformat()}
        keep_standing(store, version.model, 0, INPUT_RULE, kept, now=now)
    return _finding(version.model, told) if told else None


def _finding(model: str, told: dict[str, str]) -> Finding:
    text = "; ".join(told[column] for column in sorted(told))
    return Finding(
        f"{model} is asked with broken inputs: {', '.join(f'`{column}`' for column in sorted(told))}",
        text,
        "data",
        text,
        "repair the source; nothing is learnt from these rows while this is open. If it is meant, resolve this",
        evidence={"columns": sorted(told)},
    )


def _new_blocks(until: str | None, end: datetime, width: timedelta) -> list[datetime]:
    """Return the starts of the blocks that are over and were not looked at, no more than are remembered."""
    first = end - MOST_BLOCKS * width if until is None else datetime.fromisoformat(until)
    blocks = min(MOST_BLOCKS, round((end - first) / width))
    return [end - number * width for number in range(blocks, 0, -1)]
