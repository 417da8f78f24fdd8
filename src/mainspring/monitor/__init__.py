"""Watching production: live quality, drift of the inputs, canaries, and the incidents that follow.

It decides and never acts. Nouns: `Baseline` (what was promised), `RiskVerdict` (what is proven of live quality),
`ColumnDrift` (how an input moved), `Finding` (what a watcher saw: broken inputs, labels that stay away), `Diagnosis`
(the likely cause), `Incident`. Start reading in `quality.py`; the statistics are in `risk.py` and `drift.py`.
"""

from mainspring.domain.incident import Incident, IncidentEntry
from mainspring.monitor.diagnosis import Diagnosis
from mainspring.monitor.drift import ColumnDrift
from mainspring.monitor.incidents import find_incident, list_incidents, move_incident, open_incident
from mainspring.monitor.risk import Baseline, RiskVerdict

__all__ = [
    "Baseline",
    "ColumnDrift",
    "Diagnosis",
    "Incident",
    "IncidentEntry",
    "RiskVerdict",
    "find_incident",
    "list_incidents",
    "move_incident",
    "open_incident",
]
