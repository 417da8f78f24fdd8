"""What the server counts about itself, as Prometheus text on ``/metrics``.

Plain dictionaries, touched from the event loop alone, so that counting costs a request less than a microsecond and no
client library is needed. Names follow the Prometheus conventions: base units, ``_total``, ``_seconds``; no request id
is ever a label.
"""

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

__all__ = ["Gauge", "ServerMetrics"]

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_Labels = tuple[str, ...]
#: Names of the labels, what it measures, and the values by their labels.
Gauge = tuple[tuple[str, ...], str, Iterable[tuple[_Labels, float]]]
#: Name of each counter, its labels, and what it counts.
_COUNTERS: dict[str, tuple[tuple[str, ...], str]] = {
    "model_requests_total": (("model", "version", "route", "status"), "Prediction requests by outcome."),
    "model_rows_total": (("model", "version", "route"), "Rows scored."),
    "model_warnings_total": (("model", "kind"), "Values served although training never saw their like."),
    "model_feedback_labels_total": (("model",), "Labels received."),
    "model_reload_failures_total": (("model",), "Route changes that could not be followed."),
    "prediction_log_dropped_total": (("model",), "Answers withheld because the journal could not be written."),
    "shadow_dropped_total": (("model",), "Requests a shadow did not see because it was behind."),
}


class ServerMetrics:
    """Counters, one histogram, and gauges that are asked for when they are read."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[_Labels]] = {name: Counter() for name in _COUNTERS}
        self._durations: dict[_Labels, list[int]] = {}
        self._sums: defaultdict[_Labels, float] = defaultdict(float)

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Add to a counter; the labels come in the order of its definition."""
        self._counts[name][labels] += by

    def observe(self, model: str, version: str, seconds: float) -> None:
        """Add one request to the histogram of durations."""
        counts = self._durations.setdefault((model, version), [0] * (len(_BUCKETS) + 1))
        counts[bisect.bisect_left(_BUCKETS, seconds)] += 1
        self._sums[model, version] += seconds

    def text(self, gauges: Mapping[str, Gauge]) -> str:
        """Return everything in the Prometheus text format; `gauges` are the values of this moment by name."""
        lines: list[str] = []
        for name, (labels, purpose) in _COUNTERS.items():
            lines += [f"# HELP {name} {purpose}", f"# TYPE {name} counter"]
            lines += [f"{name}{_braces(labels, key)} {value}" for key, value in sorted(self._counts[name].items())]
        name = "model_request_duration_seconds"
        lines += [f"# HELP {name} Time from the last byte of a request to its answer.", f"# TYPE {name} histogram"]
        for key, counts in sorted(self._durations.items()):
            total = 0
            for bound, value in zip((*map(str, _BUCKETS), "+Inf"), counts, strict=True):
                total += value
                lines.append(f"{name}_bucket{_braces(('model', 'version', 'le'), (*key, bound))} {total}")
            lines.append(f"{name}_sum{_braces(('model', 'version'), key)} {self._sums[key]}")
            lines.append(f"{name}_count{_braces(('model', 'version'), key)} {total}")
        for name, (labels, purpose, values) in gauges.items():
            lines += [f"# HELP {name} {purpose}", f"# TYPE {name} gauge"]
            lines += [f"{name}{_braces(labels, key)} {value:g}" for key, value in values]
        return "\n".join(lines) + "\n"


def _braces(names: tuple[str, ...], values: _Labels) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
