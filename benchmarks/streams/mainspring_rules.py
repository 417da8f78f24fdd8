"""Mainspring's evidence: the columns that are called shifted, of a window's counts against the reference's profile."""

from windows import judge, reference_and_windows
from world import Rows

from mainspring.data.profile import count, profile
from mainspring.monitor.drift import drift

reference, windows = reference_and_windows()
kept = profile(reference.columns)


def flagged(rows: Rows) -> "dict[str, list[str]]":
    """Return the shifted columns."""
    report = drift(kept, count(kept, rows.columns))
    return {"evidence: any column": [each.column for each in report if each.is_shifted]}


judge(flagged, windows)
