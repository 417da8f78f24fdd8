"""Datasets as inputs of runs, and searching by them."""

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag


def run(note, server):
    experiment = mlflow.set_experiment("datasets")
    client = MlflowClient()
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": ["x", "y"]})
    data = mlflow.data.from_pandas(frame, source="https://example.com/data.csv", name="things", targets="b")
    with mlflow.start_run(run_name="uses") as run:
        mlflow.log_input(data, context="training")
        mlflow.log_input(data, context="evaluation")
        mlflow.log_input(data, context="training", tags={"half": "first"})
    note("inputs", client.get_run(run.info.run_id).inputs)
    other = client.create_run(experiment.experiment_id, run_name="more")
    made = [
        Dataset(name=f"made {each}", digest=f"d{each}", source_type="code", source="{}", schema="s" * each, profile="p")
        for each in range(3)
    ]
    wanted = [DatasetInput(one, [InputTag("mlflow.data.context", "train"), InputTag("k", "v")]) for one in made]
    client.log_inputs(other.info.run_id, wanted)
    client.log_inputs(other.info.run_id, wanted[:1])
    note("more", client.get_run(other.info.run_id).inputs)
    for clause in (
        "datasets.name = 'things'",
        "dataset.name = 'made 1'",
        "datasets.digest = 'd2'",
        "datasets.context = 'train'",
        "datasets.name LIKE 'made%'",
        "datasets.name IN ('things', 'made 1')",
        "datasets.context = 'training' AND datasets.name = 'things'",
        "datasets.name != 'things'",
        "datasets.profile = 'p'",
    ):
        found = note.attempt(
            clause, client.search_runs, [experiment.experiment_id], clause, order_by=["attributes.run_name"]
        )
        note("names", [each.info.run_name for each in found or []])
    note.attempt("no digest", client.log_inputs, other.info.run_id, [DatasetInput(Dataset("n", "", "t", "s"))])
    note.attempt("long name", client.log_inputs, other.info.run_id, [DatasetInput(Dataset("n" * 600, "d", "t", "s"))])
    note.attempt(
        "long tag",
        client.log_inputs,
        other.info.run_id,
        [DatasetInput(Dataset("n", "d", "t", "s"), [InputTag("k" * 300, "v")])],
    )
    note.attempt("unknown run", client.log_inputs, "0" * 32, wanted)
