"""Nested runs, tags that link them, and looking children up."""

import mlflow


def run(note, server):
    experiment = mlflow.set_experiment("nested")
    with mlflow.start_run(run_name="parent") as parent:
        for each in range(3):
            with mlflow.start_run(run_name=f"child {each}", nested=True):
                mlflow.log_metric("score", each)
                if each == 1:
                    with mlflow.start_run(run_name="grandchild", nested=True):
                        mlflow.log_param("deep", True)
    client = mlflow.MlflowClient()
    wanted = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    note("children", client.search_runs([experiment.experiment_id], wanted, order_by=["metrics.score DESC"]))
    child = client.search_runs([experiment.experiment_id], "attributes.run_name = 'child 1'")[0]
    note("parent", client.get_parent_run(child.info.run_id))
    note("orphan", client.get_parent_run(parent.info.run_id))
    with mlflow.start_run(run_name="by id", parent_run_id=parent.info.run_id):
        pass
    frame = mlflow.search_runs([experiment.experiment_id], order_by=["attributes.run_name ASC"])
    note("columns", sorted(frame.columns))
    note("names", list(frame["tags.mlflow.runName"]))
