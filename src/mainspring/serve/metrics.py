"""What the server counts about itself, as Prometheus text on ``/metrics``.

Counting is one addition to a number in shared memory (`numbers`), so that it costs a request less than a microsecond,
is right with any number of workers, and survives their deaths. Names follow the Prometheus conventions: base units,
``_total``, ``_seconds``; no request id is ever a label.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from mainspring.serve.numbers import Numbers, Series

__all__ = ["Gauge", "ServerMetrics"]

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_APART = (0.0, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)
_ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
#: Versions of a model whose numbers are told: those that answer now, and the newest.
_MOST_VERSIONS = 20
_MODEL_VERSION = ("model", "version")
_Labels = tuple[str, ...]
#: Names of the labels, what it measures, and the values by their labels.
Gauge = tuple[tuple[str, ...], str, Iterable[tuple[_Labels, float]]]
#: Name of each counter, its labels, and what it counts.
_COUNTERS: dict[str, tuple[tuple[str, ...], str]] = {
    "model_requests_total": (("model", "version", "route", "status"), "Prediction requests by outcome."),
    "model_rows_total": (("model", "version", "route"), "Rows scored."),
    "model_rows_refused_total": (("model",), "Rows of requests that a rule of the model's schema refused whole."),
    "model_warnings_total": (("model", "kind"), "Values served although training never saw their like."),
    "model_rule_breaks_total": (("model", "rule", "severity"), "Rows that broke a rule of the model's schema."),
    "model_feedback_labels_total": (("model",), "Labels received."),
    "model_reload_failures_total": (("model",), "Route changes that could not be followed."),
    "model_evictions_total": (("model",), "Times a model made way for another."),
    "prediction_log_dropped_total": (("model",), "Requests that the journal did not take."),
    "prediction_log_left_out_total": (("model",), "Requests that were not among the share that is kept."),
    "shadow_dropped_total": (("model",), "Requests a shadow did not see because it was behind."),
    "recheck_rows_total": (("model", "version"), "Rows that were answered and scored again by the original."),
    "recheck_flips_total": (("model", "version"), "Rows for which the original says another class."),
    "recheck_failures_total": (("model", "version"), "Answers that the original could not score again."),
    "shadow_rows_total": (("model", "version"), "Rows a shadow scored beside the answer that was given."),
    "shadow_flips_total": (("model", "version"), "Rows for which a shadow says another class."),
    "server_worker_restarts_total": (("reason",), "Workers that were started anew."),
}
#: Name of each histogram, its labels, its bounds, and what it measures.
_HISTOGRAMS: dict[str, tuple[tuple[str, ...], tuple[float, ...], str]] = {
    "model_request_duration_seconds": (
        ("model", "version"),
        _SECONDS,
        "Time from the last byte of a request to its answer.",
    ),
    "model_queue_seconds": (("model", "version"), _SECONDS, "How long the first request of a batch waited."),
    "model_batch_seconds": (("model", "version"), _SECONDS, "How long the model took for a batch."),
    "shadow_difference": (("model", "version"), _APART, "How far a shadow's score is from the one that was given."),
    "recheck_difference": (("model", "version"), _APART, "How far an answer's scores are from its original's."),
    "model_batch_rows": (("model", "version"), _ROWS, "Rows scored together."),
}


class ServerMetrics:
    """Counters, histograms, and gauges that are asked for when they are read."""

    def __init__(self, numbers: Numbers | None = None) -> None:
        """Count into `numbers`; into this process's memory alone when there are none."""
        self._numbers = Numbers(None) if numbers is None else numbers
        self._view = self._numbers.view
        self._slots: dict[Series, int] = {}
        self._buckets: dict[Series, list[int]] = {}

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Add to a counter; the labels come in the order of its definition."""
        series = (name, *labels)
        slot = self._slots.get(series)
        if slot is None:
            slot = self._slots[series] = self._numbers.slot(series)
        self._view[slot] += by

    def observe(self, name: str, values: Sequence[float], *labels: str) -> None:
        """Add values to a histogram."""
        series, bounds = (name, *labels), _HISTOGRAMS[name][1]
        slots = self._buckets.get(series)
        if slots is None:
            ends = [*map(str, bounds), "+Inf", "sum"]
            slots = self._buckets[series] = [self._numbers.slot((*series, end)) for end in ends]
        view = self._view
        for value in values:
            view[slots[bisect.bisect_left(bounds, value)]] += 1
        view[slots[-1]] += sum(values)

    def totals(self, name: str, model: str) -> float:
        """Return a counter of a model, over its other labels and all workers."""
        found = self._numbers.totals().items()
        return sum(value for series, value in found if series[:2] == (name, model))

    def text(self, gauges: Mapping[str, Gauge], from_zero: Iterable[Series] = ()) -> str:
        """Return everything in the Prometheus text format; `gauges` are the values of this moment by name.

        The counters `from_zero` are told before their first event too, for as long as they are among these. Of a
        model's versions those that answer now are told of, and the newest, so that years of promotions do not make the
        text long.
        """
        found: defaultdict[str, dict[_Labels, float]] = defaultdict(dict)
        for series, value in self._numbers.totals().items():
            found[series[0]][series[1:]] = value
        for name, *rest in from_zero:
            found[name].setdefault(tuple(rest), 0.0)
        told = _told_versions(found, gauges)
        for name, (labels, *_) in (*_COUNTERS.items(), *_HISTOGRAMS.items()):
            if labels[:2] == _MODEL_VERSION:
                found[name] = {key: value for key, value in found[name].items() if key[:2] in told}
        lines: list[str] = []
        for name, (labels, purpose) in _COUNTERS.items():
            lines += [f"# HELP {name} {purpose}", f"# TYPE {name} counter"]
            lines += [f"{name}{_braces(labels, key)} {value:.0f}" for key, value in sorted(found[name].items())]
        for name, (labels, bounds, purpose) in _HISTOGRAMS.items():
            lines += [f"# HELP {name} {purpose}", f"# TYPE {name} histogram"]
            for key in sorted({key[:-1] for key in found[name]}):
                total = 0.0
                for bound in (*map(str, bounds), "+Inf"):
                    total += found[name].get((*key, bound), 0.0)
                    lines.append(f"{name}_bucket{_braces((*labels, 'le'), (*key, bound))} {total:.0f}")
                lines.append(f"{name}_sum{_braces(labels, key)} {found[name].get((*key, 'sum'), 0.0)}")
                lines.append(f"{name}_count{_braces(labels, key)} {total:.0f}")
        for name, (labels, purpose, values) in gauges.items():
            lines += [f"# HELP {name} {purpose}", f"# TYPE {name} gauge"]
            lines += [f"{name}{_braces(labels, key)} {value:g}" for key, value in values]
        return "\n".join(lines) + "\n"


def _told_versions(found: Mapping[str, Mapping[_Labels, float]], gauges: Mapping[str, Gauge]) -> set[_Labels]:
    """Return the models and versions whose series are told."""
    told = {key[:2] for labels, _, values in gauges.values() if labels[:2] == _MODEL_VERSION for key, _ in values}
    versions: defaultdict[str, set[str]] = defaultdict(set)
    for name, (labels, _) in _COUNTERS.items():
        if labels[:2] == _MODEL_VERSION:
            for model, version, *_ in found[name]:
                versions[model].add(version)
    for model, each in versions.items():
        newest = sorted(each, key=lambda version: (len(version), version), reverse=True)[:_MOST_VERSIONS]
        told |= {(model, version) for version in (*newest, "")}  # "": refused before a version was chosen
    return told


def _braces(names: tuple[str, ...], values: _Labels) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
