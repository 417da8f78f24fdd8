"""Autolog of LightGBM: rounds as steps, importances, the model."""

import lightgbm
import mlflow
from sklearn.datasets import load_breast_cancer


def run(note, server):
    mlflow.set_experiment("autolog lightgbm")
    mlflow.lightgbm.autolog()
    x, y = load_breast_cancer(return_X_y=True)
    data = lightgbm.Dataset(x, label=y)
    with mlflow.start_run(run_name="boosted") as run:
        options = {"objective": "binary", "seed": 0, "num_threads": 1, "verbose": -1, "deterministic": True}
        lightgbm.train(options, data, num_boost_round=6, valid_sets=[data])
    client = mlflow.MlflowClient()
    found = client.get_run(run.info.run_id)
    note("params", found.data.params)
    note("metrics", sorted(found.data.metrics))
    note("files", sorted(each.path for each in client.list_artifacts(run.info.run_id)))
