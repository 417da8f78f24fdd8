"""One run with params, metrics, tags and a note, as most training scripts log it."""

import mlflow
from mlflow import MlflowClient


def run(note, server):
    experiment = mlflow.set_experiment("basics")
    note("experiment", experiment)
    with mlflow.start_run(run_name="first", description="what this run is about") as run:
        mlflow.log_param("rate", 0.1)
        mlflow.log_params({"depth": 3, "kind": "tree", "empty": "", "words": "ä ö ü 漢字"})
        mlflow.log_metric("loss", 1.5)
        for step in range(5):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"auc": 0.5, "f1": 0.25}, step=3)
        mlflow.log_metrics({"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")})
        mlflow.set_tag("team", "red")
        mlflow.set_tags({"a": 1, "mlflow.note.content": "noted", "blank": ""})
        note("artifact uri", mlflow.get_artifact_uri())
    note("run", mlflow.get_run(run.info.run_id))
    client = MlflowClient()
    note("history", client.get_metric_history(run.info.run_id, "loss"))
    note("no history", client.get_metric_history(run.info.run_id, "never"))
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.log_metric("later", 2)
    note("resumed", mlflow.get_run(run.info.run_id).info.status)
    try:
        with mlflow.start_run(run_name="fails"):
            mlflow.log_param("x", 1)
            raise ValueError("on purpose")
    except ValueError:
        pass
    note("last", mlflow.last_active_run().info.status)
    with mlflow.start_run(run_name="killed"):
        mlflow.end_run("KILLED")
    note("runs", client.search_runs([experiment.experiment_id], order_by=["attributes.run_name"]))
