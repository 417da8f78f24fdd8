"""What becomes of a model's incidents when a batch of its data is checked: one opens, or the open one is over.

Its rule is ``data``. While one is open nothing is learnt from that data (`loop.retraining`), and other incidents of the
model open quietly: what follows from broken input is no news until the input is mended (`incidents.end_quiet`).
"""

from collections.abc import Sequence
from datetime import datetime

from mainspring.domain.incident import DATA_RULE, Incident
from mainspring.errors import Conflict
from mainspring.monitor.incidents import list_incidents, move_incident, open_incident
from mainspring.store.protocol import Store

__all__ = ["take_batch"]

_MOST_LISTED = 20


def take_batch(
    store: Store, model: str, batch: str, broken: Sequence[str], *, at: datetime, actor: str
) -> Incident | None:
    """Open the incident of a batch that broke rules, or resolve the open one when a batch broke none.

    `broken` says what was broken, one text a rule; `batch` names the batch. Returns the incident, if there is one.
    """
    if broken:
        listed = "\n".join(broken[:_MOST_LISTED])
        return open_incident(
            store,
            model=model,
            version=None,
            rule=DATA_RULE,
            severity="page",
            title=f"A batch of {model}'s data was stopped: {batch} breaks {len(broken)} rules",
            text=listed,
            diagnosis={"suspect": "data", "reason": broken[0]},
            evidence={"batch": batch, "broken": list(broken[:_MOST_LISTED]), "n_broken": len(broken)},
            at=at,
            actor=actor,
        )
    for incident in list_incidents(store, model=model, only_open=True):
        if incident.rule == DATA_RULE:
            try:
                return move_incident(store, incident, "resolved", text=f"{batch} breaks no rule", at=at, actor=actor)
            except Conflict:  # somebody closed it at the same time
                return None
    return None
