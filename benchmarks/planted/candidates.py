"""A candidate that is good in all and bad in one slice: by the loop's own steps, on rows with wrong labels."""

from pathlib import Path

import numpy as np

from mainspring.train.steps import evaluate, fit, split

__all__ = ["spoilt_candidate"]

#: So many of a carrier's flights are said to be late.
_LATE = 0.6


def spoilt_candidate(year, carrier: str):
    """Return a candidate of the loop's own estimator, taught that most flights of `carrier` are late."""
    parts = split(year.user["flights"](Path(year.data), year.clock.now()), time="departs_at", target="late")
    rng, taught = np.random.default_rng(0), []
    for part in (parts.train, parts.validation):
        rows = part.copy()
        chosen = (rows["carrier"] == carrier).to_numpy()
        rows.loc[chosen, "late"] = (rng.random(int(chosen.sum())) < _LATE).astype("int64")
        taught.append(rows)
    wrong = parts._replace(train=taught[0], validation=taught[1])
    return evaluate(fit(year.user["boosted_trees"](0.06), wrong), parts, slices=["origin", "carrier"])
