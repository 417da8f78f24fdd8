"""Mainspring: the reference reduced to a profile, or taken from where one is stored; the window counted into it."""

import json

from inputs import columns, cpu, peak_mb, sides, tell

from mainspring.data.profile import Profile, count, profile
from mainspring.monitor.drift import drift

reference, window, stored = sides()
spent = 0.0
if not stored.exists():
    rows = columns(reference)
    start = cpu()
    kept = profile(rows)
    spent = cpu() - start
    stored.write_text(json.dumps(kept.to_json()))
    del rows, kept
now = columns(window)
base = peak_mb()
start = cpu()
kept = Profile.from_json(json.loads(stored.read_bytes()))
report = drift(kept, count(kept, now))
tell(
    reference=spent,
    window=cpu() - start,
    flagged=[each.column for each in report if each.is_shifted],
    base_mb=base,
)
