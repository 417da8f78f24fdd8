"""What is refused, and in which words: names, lengths, changed params, unknown runs, odd values."""

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

KEYS = [
    "a",
    "a b",
    "a/b",
    "a.b",
    "a-b",
    "a_b",
    "a:b",
    "a//b",
    "/a",
    "a/",
    "../a",
    ".",
    "..",
    "a$b",
    "a\nb",
    "ä",
    "",
    "a" * 250,
    "a" * 251,
    "a\\b",
    "a'b",
    'a"b',
    "a;b",
    "a/./b",
    "a/../b",
]


def run(note, server):
    client = MlflowClient()
    experiment = client.create_experiment("limits")
    run_id = client.create_run(experiment, start_time=1).info.run_id
    for key in KEYS:
        shown = key if len(key) < 20 else f"{len(key)} long"
        note.attempt(f"metric {shown!r}", client.log_metric, run_id, key, 1, 1, 1)
        note.attempt(f"param {shown!r}", client.log_param, run_id, key, "v")
        note.attempt(f"tag {shown!r}", client.set_tag, run_id, key, "v")
        note.attempt(f"batch metric {shown!r}", client.log_batch, run_id, [Metric(key, 1, 1, 1)])
        note.attempt(f"batch param {shown!r}", client.log_batch, run_id, [], [Param(key, "v")])
        note.attempt(f"batch tag {shown!r}", client.log_batch, run_id, [], [], [RunTag(key, "v")])
    for length in (6000, 6001, 7000):
        note.attempt(f"param of {length}", client.log_param, run_id, f"p{length}", "v" * length)
        note.attempt(f"batch param of {length}", client.log_batch, run_id, [], [Param(f"b{length}", "v" * length)])
    for length in (5000, 8000, 8001):
        note.attempt(f"tag of {length}", client.set_tag, run_id, f"t{length}", "v" * length)
        note.attempt(f"batch tag of {length}", client.log_batch, run_id, [], [], [RunTag(f"b{length}", "v" * length)])
    note("params", {key: len(value) for key, value in client.get_run(run_id).data.params.items() if key[0] in "pb"})
    note("tags", {key: len(value) for key, value in client.get_run(run_id).data.tags.items() if key[0] in "tb"})
    client.log_param(run_id, "same", 1)
    note.attempt("same again", client.log_param, run_id, "same", 1)
    note.attempt("changed", client.log_param, run_id, "same", 2)
    note.attempt("batch same", client.log_batch, run_id, [], [Param("same", "1")])
    note.attempt("batch changed", client.log_batch, run_id, [], [Param("same", "2"), Param("new", "1")])
    note.attempt("batch twice", client.log_batch, run_id, [], [Param("twice", "1"), Param("twice", "2")])
    note.attempt("batch twice the same", client.log_batch, run_id, [], [Param("alike", "1"), Param("alike", "1")])
    note.attempt("tag twice", client.log_batch, run_id, [], [], [RunTag("tt", "1"), RunTag("tt", "2")])
    note("kept", client.get_run(run_id).data.params.get("new"))
    note("tag kept", client.get_run(run_id).data.tags.get("tt"))
    for value in (1, 1.5, -0.0, 1e308, 1e-320, float("inf"), -float("inf"), float("nan"), "3", "x", None, True):
        note.attempt(f"value {value!r}", client.log_metric, run_id, "value", value, 5, 0)
    note("values", [p.value for p in client.get_metric_history(run_id, "value")])
    for step in (0, -1, 2**31, 2**53, 2**63 - 1, -(2**63), 2**63, 1.5, "x"):
        note.attempt(f"step {step!r}", client.log_metric, run_id, "steps", 1, 5, step)
    note("steps", [p.step for p in client.get_metric_history(run_id, "steps")])
    for at in (0, -1, 1, 2**53, 1.5):
        note.attempt(f"at {at!r}", client.log_metric, run_id, "times", 1, at, 0)
    note("times", [p.timestamp for p in client.get_metric_history(run_id, "times")])
    note.attempt("unknown run metric", client.log_metric, "0" * 32, "m", 1)
    note.attempt("unknown run param", client.log_param, "0" * 32, "m", 1)
    note.attempt("unknown run tag", client.set_tag, "0" * 32, "m", 1)
    note.attempt("unknown run batch", client.log_batch, "0" * 32, [Metric("m", 1, 1, 1)])
    note.attempt("unknown run history", client.get_metric_history, "0" * 32, "m")
    note.attempt("unknown run end", client.set_terminated, "0" * 32)
    note.attempt("bad run id", client.log_metric, "../x", "m", 1)
    note.attempt("long run name", client.create_run, experiment, run_name="n" * 300)
    note.attempt("long experiment", client.create_experiment, "limits " + "e" * 500)
    note.attempt("unknown run tag deleted", client.delete_tag, "fake", "x")
