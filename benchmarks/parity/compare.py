"""Compare two servers' answers field by field, after taking out what may differ: ids, times, hosts, addresses.

An id becomes `<run 3>`: its kind and the order in which it first appeared, so that two answers agree only if they
speak of the same things in the same places.
"""

import contextlib
import json
import re

#: What an id looks like, by kind. Whatever matches is numbered by first appearance.
KINDS = [
    ("model", re.compile(r"m-[0-9a-f]{32}")),
    ("uuid", re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")),
    ("id", re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")),
    ("name", re.compile(r"\b[a-z]+-[a-z]+-\d{1,4}\b")),
    ("host", re.compile(r"(?:127\.0\.0\.1|localhost)(?::\d+|', port=\d+)")),
    ("time", re.compile(r"\b20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?\b")),
    ("moment", re.compile(r"\b17[6-9]\d{10}\b|\b1[89]\d{11}\b")),
    ("folder", re.compile(r"/tmp/tmp\w+")),
    ("digest", re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{40})(?![0-9a-f])")),
]
#: What a field that is left out may be written as.
NOTHING = (None, "", [], {})
#: A Python set in an error's words, whose order changes with every start.
SET = re.compile(r"\{('[^{}:]*')\}?")
#: Keys whose numbers are moments of this very run.
MOMENTS = {
    "start_time",
    "end_time",
    "creation_time",
    "last_update_time",
    "creation_timestamp",
    "last_updated_timestamp",
}
MOMENTS |= {"creation_timestamp_ms", "last_updated_timestamp_ms", "timestamp", "model_size_bytes"}


class Names:
    """Give each id its kind and its number."""

    def __init__(self):
        self.known = {}
        self.counts = {}

    def of(self, kind, text):
        if kind in ("host", "time", "moment", "folder", "digest", "name"):
            return f"<{kind}>"
        if text not in self.known:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.known[text] = f"<{kind} {self.counts[kind]}>"
        return self.known[text]

    def text(self, value):
        value = SET.sub(lambda found: "{" + ", ".join(sorted(found.group(1).split(", "))) + "}", value)
        for kind, pattern in KINDS:
            value = pattern.sub(lambda found, kind=kind: self.of(kind, found.group()), value)
        return value


def cleaned(value, names, experiments, key=""):
    """Return `value` without what may differ between two servers."""
    if isinstance(value, dict):
        return {names.text(k): cleaned(v, names, experiments, k) for k, v in value.items() if v not in NOTHING}
    if isinstance(value, list):
        if value and all(isinstance(each, dict) and isinstance(each.get("key"), str) for each in value):
            value = sorted(value, key=lambda each: each["key"])  # params and tags come in no promised order
        return [cleaned(each, names, experiments, key) for each in value]
    if isinstance(value, str):
        if key in ("experiment_id", "source_experiment_id", "experimentId") and value in experiments:
            return f"<experiment {experiments[value]}>"
        value = re.sub(r"(mlflow-artifacts:/+)(\d+)(?=/|$)", lambda m: f"{m[1]}{experiments.get(m[2], m[2])}", value)
        if value.startswith(("[{", "{")):  # JSON within JSON: the order of its keys says nothing
            with contextlib.suppress(ValueError):
                return cleaned(json.loads(value), names, experiments, key)
        if key.endswith("MLmodel"):  # some of its lists come out of sets
            value = "\n".join(sorted(value.splitlines()))
        return names.text(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key in MOMENTS and value > 1_700_000_000_000:
            return "<moment>"
        return names.text(str(value)) if isinstance(value, int) and value > 1_700_000_000_000 else value
    return value


def sorted_state(state):
    """Return a server's state in an order that ids and times do not decide."""
    experiments = {each["experiment"]["experiment_id"]: each["experiment"]["name"] for each in state["experiments"]}
    text = json.dumps(state)
    for each in (model["info"] for one in state["experiments"] for model in one["models"]):
        text = text.replace(each["model_id"], f"the model {each['name']}")  # two of one run may differ in nothing else
    state = json.loads(text)

    def weight(value):  # an order by content alone: every id looks the same in it
        class Blank(Names):
            def of(self, kind, text):
                return f"<{kind}>"

        return json.dumps(cleaned(value, Blank(), experiments), sort_keys=True)

    def ordered(value):
        if isinstance(value, dict):
            return {key: ordered(value[key]) for key in sorted(value)}
        if isinstance(value, list):
            return sorted((ordered(each) for each in value), key=weight)
        return value

    return ordered(state), experiments


def differences(ours, theirs, path="", most=2000):
    """Return [(path, ours, theirs)] of every place where two cleaned trees differ."""
    if type(ours) is not type(theirs) and not (isinstance(ours, int | float) and isinstance(theirs, int | float)):
        return [(path, ours, theirs)]
    if isinstance(ours, dict):
        found = []
        for key in sorted(set(ours) | set(theirs)):
            found += differences(ours.get(key), theirs.get(key), f"{path}.{key}") if len(found) < most else []
        return found
    if isinstance(ours, list):
        if len(ours) != len(theirs):
            return [(f"{path}[{len(ours)} beside {len(theirs)}]", ours, theirs)]
        return [
            each
            for i, (a, b) in enumerate(zip(ours, theirs, strict=True))
            for each in differences(a, b, f"{path}[{i}]")
        ]
    return [] if ours == theirs else [(path, ours, theirs)]


def compare_notes(ours, theirs, experiments_ours, experiments_theirs):
    """Return the differences of what one script noted on two servers."""
    if ours.get("failure") or theirs.get("failure"):
        a, b = ours.get("failure"), theirs.get("failure")
        return [("the script's end", a, b)] if bool(a) != bool(b) or a == "out of time" else [("failed on both", a, b)]
    found, one, two = [], Names(), Names()
    for at, ((label, mine), (_, other)) in enumerate(zip(ours["notes"], theirs["notes"], strict=False)):
        a, b = cleaned(mine, one, experiments_ours, label), cleaned(other, two, experiments_theirs, label)
        if _failed(b) and not _failed(a):
            found.append((f"{at} {label}: ", a, "the server failed"))
            continue
        wrong = differences(a, b, f"{at} {label}: ")
        if wrong:  # one server may have made something that the other refused: number this answer's ids by itself
            alone = [cleaned(m, Names(), e) for m, e in ((mine, experiments_ours), (other, experiments_theirs))]
            wrong = differences(*alone, f"{at} {label}: ")
        found += wrong
    if len(ours["notes"]) != len(theirs["notes"]):
        found.append(("how many notes", len(ours["notes"]), len(theirs["notes"])))
    return found


def _is_of_wire(name):
    return name.startswith("wire") or name.strip() in ("", "Default")


def _failed(answer):
    """Say whether an answer is a server's own failure, not a refusal."""
    if isinstance(answer, list) and answer and isinstance(answer[0], int):
        return answer[0] >= 500
    return answer in ({"error": "the server failed"}, "the connection broke")


def compare_states(ours, theirs):
    """Return the differences of what two servers hold, but for what the malformed requests of `wire` left behind."""
    for state in (ours, theirs):
        state["experiments"] = [e for e in state["experiments"] if not _is_of_wire(e["experiment"]["name"])]
        state["registered"] = [each for each in state["registered"] if not each["name"].startswith("wire")]
        state["versions"] = [each for each in state["versions"] if not each["name"].startswith("wire")]
    (one, names_one), (two, names_two) = sorted_state(ours), sorted_state(theirs)
    return differences(cleaned(one, Names(), names_one), cleaned(two, Names(), names_two), "state")
