"""Model stages, which 2.x teams still use: transitions, archiving, latest versions."""

import warnings

from mlflow import MlflowClient


def run(note, server):
    warnings.simplefilter("ignore")
    client = MlflowClient()
    client.create_registered_model("staged")
    for _ in range(4):
        client.create_model_version("staged", "runs:/run_id/model", "run_id")
    note("to staging", client.transition_model_version_stage("staged", "1", "Staging"))
    note("lower case", client.transition_model_version_stage("staged", "2", "staging"))
    note("production", client.transition_model_version_stage("staged", "3", "Production"))
    note("archives", client.transition_model_version_stage("staged", "4", "Production", archive_existing_versions=True))
    note("latest", sorted([v.current_stage, v.version] for v in client.get_latest_versions("staged")))
    note("some", sorted([v.current_stage, v.version] for v in client.get_latest_versions("staged", ["Production"])))
    note("empty", sorted([v.current_stage, v.version] for v in client.get_latest_versions("staged", [])))
    note("none", client.get_latest_versions("staged", ["None"]))
    note.attempt("unknown stage", client.transition_model_version_stage, "staged", "1", "Prod")
    note.attempt("unknown stage asked", client.get_latest_versions, "staged", ["Prod"])
    note.attempt("unknown version", client.transition_model_version_stage, "staged", "9", "Staging")
    note.attempt("unknown model", client.get_latest_versions, "nowhere")
    note.attempt(
        "archive into none",
        client.transition_model_version_stage,
        "staged",
        "1",
        "None",
        archive_existing_versions=True,
    )
    note("all", [[v.version, v.current_stage] for v in client.search_model_versions("name = 'staged'")])
    note("model", [[v.version, v.current_stage] for v in client.get_registered_model("staged").latest_versions])
