"""whylogs: the columns whose drift score is called drift at its default thresholds."""

import warnings

warnings.simplefilter("ignore")

import whylogs as why  # noqa: E402
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores  # noqa: E402
from windows import frame, judge, reference_and_windows  # noqa: E402
from world import Rows  # noqa: E402

reference, windows = reference_and_windows()
kept = why.log(frame(reference)).view()


def flagged(rows: Rows) -> "dict[str, list[str]]":
    """Return the drifted columns."""
    scores = calculate_drift_scores(why.log(frame(rows)).view(), kept, with_thresholds=True)
    return {"any column": [name for name, each in scores.items() if each and each["drift_category"] == "DRIFT"]}


judge(flagged, windows)
