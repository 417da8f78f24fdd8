"""whylogs: both tables profiled, then its drift scores at their default thresholds."""

import warnings

warnings.simplefilter("ignore")

import whylogs as why  # noqa: E402
from inputs import cpu, frame, peak_mb, sides, tell  # noqa: E402
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores  # noqa: E402

reference, window, _ = sides()
before, now = frame(reference), frame(window)
base = peak_mb()
start = cpu()
kept = why.log(before).view()
profiled = cpu() - start
start = cpu()
scores = calculate_drift_scores(why.log(now).view(), kept, with_thresholds=True)
spent = cpu() - start
flagged = [name for name, each in scores.items() if each and each["drift_category"] == "DRIFT"]
tell(reference=profiled, window=spent, flagged=flagged, base_mb=base)
