"""Autolog of scikit-learn: a fit and its scores."""

import mlflow
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split


def run(note, server):
    experiment = mlflow.set_experiment("autolog sklearn")
    mlflow.sklearn.autolog()
    x, y = load_iris(return_X_y=True, as_frame=True)
    train, test, y_train, y_test = train_test_split(x, y, random_state=0)
    with mlflow.start_run(run_name="forest"):
        forest = RandomForestClassifier(n_estimators=5, random_state=0).fit(train, y_train)
        forest.score(test, y_test)
    with mlflow.start_run(run_name="line"):
        LinearRegression().fit(train, y_train)
    client = mlflow.MlflowClient()
    for found in client.search_runs([experiment.experiment_id], order_by=["attributes.run_name"]):
        note(found.info.run_name, found)
        note("files", sorted(each.path for each in client.list_artifacts(found.info.run_id)))
