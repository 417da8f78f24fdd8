#!/usr/bin/env python3
"""How often the shipped rules of Prometheus on what is usual are wrong, on services in which nothing happens.

The services are those of `benchmarks/operations.py`, and two that are asked from 9 to 18 o'clock, Monday to Friday, and
never else, so that most hours are idle. Their counters and histograms, a value every five minutes, are lived through by
Prometheus' own engine (`promtool test rules`) under the file that `mainspring prometheus` writes, once as they are and
once with a fault of six hours in the last week. The false alarms are stated in docs/monitoring.md; the command exits
with 1 when there are more. Evaluated every `--every` minutes; the file itself says 5. `--kind` asks for the kinds alone
whose names hold a word.

    .venv/bin/python benchmarks/usual_rules.py [--services N] [--weeks N] [--every MINUTES] [--kind WORD] [--json]
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from operations import KINDS as OPERATED
from operations import weather
from scipy.special import ndtr

RULES = Path(__file__).parents[1] / "src" / "mainspring" / "templates" / "prometheus" / "rules.yml"
ALERTS = ("ModelSilent", "ModelTrafficUnusual", "ModelLatencyUnusual")
#: Alerts that begin in a year in which nothing happens, at the most, over all kinds that are not marked as hard.
MOST_A_YEAR = 0.5
#: Before these weeks are over the rules have nothing to compare with.
FIRST_WEEKS = 4
STEPS = 12  # of an hour
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


def office(hours: np.ndarray) -> np.ndarray:
    """Return 1 for hours in which an office is open, else 0."""
    return (hours % 24 >= 9) & (hours % 24 < 18) & (hours // 24 % 7 < 5)


KINDS = OPERATED | {
    "office hours, 50": (False, lambda hours, rng: 50.0 * office(hours)),
    "office hours, 5,000": (False, lambda hours, rng: 5000.0 * office(hours)),
}
#: What happens from 10 to 16 o'clock on the Wednesday of the last week: times the requests, times the latency.
FAULTS = {
    "nothing": (1.0, 1.0),
    "nobody asks": (0.0, 1.0),
    "a third of the traffic": (1 / 3, 1.0),
    "three times the traffic": (3.0, 1.0),
    "three times the latency": (1.0, 3.0),
}


def counters(kind: str, seed: int, weeks: int, fault: str) -> dict[str, np.ndarray]:
    """Return the series of a service, a value every five minutes, by their labels."""
    rng = np.random.default_rng([seed, *kind.encode()])
    hours = np.arange(weeks * 168)
    mean = KINDS[kind][1](hours, rng)
    seconds = 0.003 * np.exp(weather(rng, hours.size, 0.15, 0.8)) * (0.8 + 0.2 * mean / mean.mean())
    wednesday = (weeks - 1) * 168 + 48
    more, slower = FAULTS[fault]
    mean[wednesday + 10 : wednesday + 16] *= more
    seconds[wednesday + 10 : wednesday + 16] *= slower
    asked = rng.poisson(np.repeat(mean, STEPS) / STEPS)
    middle, series, below = np.repeat(seconds, STEPS), {}, np.zeros(asked.size, dtype=int)
    before = np.zeros(asked.size)
    for bound in BOUNDS:  # lognormal latencies: each bucket takes its share of those that are in none yet
        share = ndtr(np.log(bound / middle) / 0.5)
        left = np.maximum(1 - before, 1e-12)
        below = below + rng.binomial(asked - below, np.clip((share - before) / left, 0, 1))
        before = share
        series[f'model_request_duration_seconds_bucket{{model="%s",version="1",le="{bound}"}}'] = below
    series['model_request_duration_seconds_bucket{model="%s",version="1",le="+Inf"}'] = asked
    series['model_request_duration_seconds_count{model="%s",version="1"}'] = asked
    # a sum of lognormal values, by its own mean and deviation
    mean_of, deviation = middle * np.exp(0.125), middle * np.exp(0.125) * np.sqrt(np.exp(0.25) - 1)
    total = asked * mean_of + np.sqrt(asked) * deviation * rng.normal(size=asked.size)
    series['model_request_duration_seconds_sum{model="%s",version="1"}'] = np.round(np.maximum(total, 0), 6)
    series['model_requests_total{model="%s",route="champion"}'] = asked
    return series


def alarms(kind: str, services: int, weeks: int, every: int, fault: str = "nothing") -> dict[str, dict[str, list[int]]]:
    """Return for each alert and service the hours in which it fires, by Prometheus' own engine."""
    inputs = []
    for service in range(services):
        for labels, counted in counters(kind, service, weeks, fault).items():
            values = " ".join(f"{each:.9g}" for each in np.cumsum(counted).tolist())
            inputs.append({"series": labels % f"s{service}", "values": values})
    hours = range((weeks - 1) * 168 + 48, weeks * 168) if fault != "nothing" else range(FIRST_WEEKS * 168, weeks * 168)
    asked = [{"eval_time": f"{hour}h", "alertname": alert} for hour in hours for alert in ALERTS]
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": f"{every}m",
        "tests": [{"interval": "5m", "input_series": inputs, "alert_rule_test": asked}],
    }
    with tempfile.TemporaryDirectory() as scratch:
        said = RULES.read_text()
        assert said.count("interval: 5m") == 1
        (Path(scratch) / "rules.yml").write_text(said.replace("interval: 5m", f"interval: {every}m"))
        (Path(scratch) / "test.yml").write_text(json.dumps(test))
        words = ["promtool", "test", "rules", "test.yml"]
        done = subprocess.run(words, cwd=scratch, capture_output=True, text=True, check=False)
    # promtool prints each moment at which an alert fires that the test did not expect
    told = done.stdout + done.stderr
    if done.returncode and "alertname:" not in told:
        raise SystemExit(told[-2000:])
    found: dict[str, dict[str, list[int]]] = {alert: defaultdict(list) for alert in ALERTS}
    for alert, hour, fired in re.findall(
        r"alertname: (\w+), time: (\w+),\s*\n?(.*?)(?=alertname: |\Z)", told, re.DOTALL
    ):
        for model in re.findall(r'model="(s\d+)"', fired):
            found[alert][model].append(in_hours(hour))
    return found


def in_hours(text: str) -> int:
    """Read a duration as Prometheus prints it, in whole hours: 5w1d3h."""
    sizes = {"y": 8760, "w": 168, "d": 24, "h": 1}
    return sum(int(count) * sizes[unit] for count, unit in re.findall(r"(\d+)([ywdh])", text))


def begun(hours: list[int]) -> int:
    """Count how often an alert began, of the hours in which it fires."""
    return sum(hour - 1 not in hours for hour in set(hours))


def main() -> int:
    """Print both tables; return 1 when more false alarms came than are stated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=4, help="services of each kind")
    parser.add_argument("--weeks", type=int, default=30, help=f"weeks of each; the first {FIRST_WEEKS} do not count")
    parser.add_argument("--every", type=int, default=60, help="minutes between evaluations")
    parser.add_argument("--kind", default="", help="a word that the kinds' names hold; every kind without it")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    words = parser.parse_args()
    if shutil.which("promtool") is None:
        raise SystemExit("there is no promtool here: apt-get install prometheus")
    years = words.services * (words.weeks - FIRST_WEEKS) / 52
    false: dict[str, Counter[str]] = {}
    power: dict[str, dict[str, int]] = {}
    kinds = {kind: is_hard for kind, (is_hard, _) in KINDS.items() if words.kind in kind}
    for kind in kinds:
        fired = alarms(kind, words.services, words.weeks, words.every)
        false[kind] = Counter({alert: sum(map(begun, by.values())) for alert, by in fired.items()})
        power[kind] = {}
        for fault in [*FAULTS][1:]:
            told = alarms(kind, words.services, FIRST_WEEKS + 4, words.every, fault)
            day = range((FIRST_WEEKS + 3) * 168 + 58, (FIRST_WEEKS + 3) * 168 + 66)
            seen = {model for by in told.values() for model, hours in by.items() if any(each in day for each in hours)}
            power[kind][fault] = len(seen)
        if not words.json:
            parts = ", ".join(f"{alert} {count}" for alert, count in false[kind].items() if count) or "none"
            print(f"  {kind:<36} {parts}")
            print("    " + "; ".join(f"{fault} {count}" for fault, count in power[kind].items()), flush=True)
    calm = [sum(false[kind].values()) for kind, is_hard in kinds.items() if not is_hard]
    rate = sum(calm) / max(len(calm), 1) / years
    if words.json:
        print(json.dumps({"years": years, "services": words.services, "false_alarms": false, "found": power}))
    print(
        f"{rate:.2f} false alarms a year of a service, kinds that do what faults do left out; {years:g} years of each"
        f" kind, and of {words.services} services each those in which a fault of six hours was told",
        file=sys.stderr,
    )
    return int(rate > MOST_A_YEAR)


if __name__ == "__main__":
    sys.exit(main())
