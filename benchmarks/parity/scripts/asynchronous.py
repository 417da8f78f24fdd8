"""Logging from the client's background threads, and a thousand metrics at once."""

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag


def run(note, server):
    experiment = mlflow.set_experiment("asynchronous")
    client = MlflowClient()
    with mlflow.start_run(run_name="in the background") as run:
        waiting = [mlflow.log_metric("loss", each / 10, step=each, synchronous=False) for each in range(50)]
        waiting += [mlflow.log_param(f"p{each}", each, synchronous=False) for each in range(10)]
        waiting += [mlflow.set_tag("last", "tag", synchronous=False)]
        for each in waiting:
            each.wait()
    note("points", [[p.step, p.value] for p in client.get_metric_history(run.info.run_id, "loss")])
    note("params", client.get_run(run.info.run_id).data.params)
    big = client.create_run(experiment.experiment_id, run_name="big", start_time=1)
    run_id = big.info.run_id
    client.log_batch(run_id, metrics=[Metric(f"m{e % 10}", e, 1000 + e, e // 10) for e in range(1000)])
    client.log_batch(
        run_id, params=[Param(f"p{e}", str(e)) for e in range(100)], tags=[RunTag(f"t{e}", "v") for e in range(100)]
    )
    client.log_batch(run_id, metrics=[Metric("m0", 5, 5, 5)] * 3)
    note("latest", client.get_run(run_id).data.metrics)
    note("history", [[p.step, p.timestamp, p.value] for p in client.get_metric_history(run_id, "m0")])
    note.attempt("1001 metrics", client.log_batch, run_id, metrics=[Metric("m", 1, 1, 1)] * 1001)
    note.attempt("101 params", client.log_batch, run_id, params=[Param(f"x{e}", "1") for e in range(101)])
    note.attempt("101 tags", client.log_batch, run_id, tags=[RunTag(f"x{e}", "1") for e in range(101)])
    note.attempt(
        "1001 in all", client.log_batch, run_id, [Metric("m", 1, 1, 1)] * 950, [Param(f"x{e}", "1") for e in range(51)]
    )
    for metric in (Metric("m", 1, 2, 1), Metric("m", 2, 1, 1), Metric("m", 3, 1, 0), Metric("m", float("nan"), 2, 1)):
        client.log_batch(run_id, metrics=[metric])
        note("which is latest", client.get_run(run_id).data.metrics["m"])
    client.log_batch(run_id)
    note("end", client.get_run(run_id).data.params["p99"])
