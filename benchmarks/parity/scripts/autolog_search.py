"""Autolog of a grid search: a parent, its children, the table of results and the best model."""

import mlflow
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier


def run(note, server):
    experiment = mlflow.set_experiment("autolog search")
    mlflow.sklearn.autolog(max_tuning_runs=3)
    x, y = load_iris(return_X_y=True)
    with mlflow.start_run(run_name="search"):
        grid = {"max_depth": [1, 2, 3, 4], "criterion": ["gini", "entropy"]}
        GridSearchCV(DecisionTreeClassifier(random_state=0), grid, cv=3).fit(x, y)
    client = mlflow.MlflowClient()
    found = client.search_runs([experiment.experiment_id])
    note("runs", len(found))
    note("parent", [each.data.params for each in found if each.info.run_name == "search"])
