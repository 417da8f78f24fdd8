"""Autolog of XGBoost: rounds as steps, importances, the model."""

import mlflow
import xgboost
from sklearn.datasets import load_breast_cancer


def run(note, server):
    experiment = mlflow.set_experiment("autolog xgboost")
    mlflow.xgboost.autolog()
    x, y = load_breast_cancer(return_X_y=True)
    data = xgboost.DMatrix(x, label=y)
    with mlflow.start_run(run_name="boosted") as run:
        options = {"max_depth": 2, "seed": 0, "nthread": 1, "objective": "binary:logistic", "eval_metric": "logloss"}
        xgboost.train(options, data, num_boost_round=6, evals=[(data, "train")])
    client = mlflow.MlflowClient()
    found = client.get_run(run.info.run_id)
    note("params", found.data.params)
    note("metrics", sorted(found.data.metrics))
    note("history", [[p.step, round(p.value, 6)] for p in client.get_metric_history(run.info.run_id, "train-logloss")])
    note("files", sorted(each.path for each in client.list_artifacts(run.info.run_id)))
    note("experiment", client.get_experiment(experiment.experiment_id).name)
