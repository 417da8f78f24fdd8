"""Logged models of 3.x: create, finish, tag, params, metrics on them, search, outputs of runs, delete."""

import time

import mlflow
from mlflow import MlflowClient

CLIENTS = (3,)
CLAUSES = [
    "name = 'm1'",
    "name LIKE 'm%'",
    "name ILIKE 'M%'",
    "attributes.name = 'm1'",
    "name != 'm1'",
    "model_type = 'tree'",
    "status = 'READY'",
    "status = 'ready'",
    "attributes.status != 'READY'",
    "source_run_id = 'x'",
    "model_id = 'x'",
    "creation_timestamp > 0",
    "last_updated_timestamp > 0",
    "creation_time > 0",
    "params.depth = '3'",
    "params.depth != '3'",
    "params.depth LIKE '3%'",
    "params.depth > 1",
    "tags.team = 'red'",
    "tags.team ILIKE 'RED'",
    "tags.team IN ('red')",
    "metrics.auc > 0.5",
    "metrics.auc <= 0.5",
    "metrics.auc = 0.9",
    "metrics.auc > 0.5 AND params.depth = '3'",
    "metrics.auc > 'x'",
    "nope = 'x'",
    "nope.x = 'y'",
    "name = m1",
    "name IN ('m1', 'm2')",
    "name IS NULL",
    "name = 'm1' OR name = 'm2'",
    "experiment_id = '1'",
    "",
]


def run(note, server):
    from mlflow.entities import LoggedModelInput, LoggedModelOutput, LoggedModelStatus

    client = MlflowClient()
    experiment = client.create_experiment("logged models")
    run_ = client.create_run(experiment, run_name="trains", start_time=1)
    run_id = run_.info.run_id
    made = []
    for each in range(4):
        time.sleep(0.005)
        options = {
            "name": f"m{each}",
            "model_type": ["tree", "line"][each % 2],
            "source_run_id": run_id if each < 2 else None,
        }
        options |= {"tags": {"team": "red" if each else "blue"}, "params": {"depth": str(each), "long": "x" * 300}}
        made.append(note("made", client.create_logged_model(experiment, **options)))
    nameless = client.create_logged_model(experiment)
    note("nameless", bool(nameless.name))
    ids = [each.model_id for each in made]
    note("got", client.get_logged_model(ids[0]))
    note("finished", client.finalize_logged_model(ids[0], LoggedModelStatus.READY))
    note("failed", client.finalize_logged_model(ids[1], LoggedModelStatus.FAILED))
    client.set_logged_model_tags(ids[0], {"a": "1", "b": ""})
    client.set_logged_model_tags(ids[0], {"a": "2"})
    client.delete_logged_model_tag(ids[0], "b")
    note.attempt("delete tag again", client.delete_logged_model_tag, ids[0], "b")
    client.log_model_params(ids[2], {"more": "1"})
    note.attempt("param again", client.log_model_params, ids[2], {"more": "2"})
    note("after", [client.get_logged_model(each) for each in ids[:3]])
    client.log_metric(run_id, "auc", 0.9, timestamp=5, step=0, model_id=ids[0], dataset_name="d", dataset_digest="1")
    client.log_metric(run_id, "auc", 0.5, timestamp=5, step=1, model_id=ids[1], dataset_name="d", dataset_digest="1")
    client.log_metric(run_id, "auc", 0.7, timestamp=6, step=2, model_id=ids[1], dataset_name="e", dataset_digest="2")
    client.log_metric(run_id, "loss", 0.1, timestamp=6, step=2, model_id=ids[2])
    note("metrics", [client.get_logged_model(each).metrics for each in ids])
    note("run metrics", client.get_run(run_id).data.metrics)
    note.attempt("metric of unknown model", client.log_metric, run_id, "x", 1, model_id="m-" + "0" * 32)
    client.log_outputs(run_id, [LoggedModelOutput(ids[0], 3), LoggedModelOutput(ids[1], 0)])
    client.log_inputs(run_id, models=[LoggedModelInput(ids[2])])
    found = client.get_run(run_id)
    note("outputs", found.outputs)
    note("inputs", found.inputs)

    def named(label, **options):
        note.named(label, client.search_logged_models, [experiment], **options)

    client.delete_logged_model(nameless.model_id)
    for clause in CLAUSES:
        named(clause, filter_string=clause)
    for order in (
        [{"field_name": "creation_timestamp", "ascending": True}],
        [{"field_name": "name", "ascending": False}],
        [{"field_name": "metrics.auc", "ascending": False}],
        [{"field_name": "metrics.auc"}],
        [{"field_name": "metrics.auc", "ascending": True, "dataset_name": "d", "dataset_digest": "1"}],
        [{"field_name": "metrics.auc", "dataset_name": "d"}],
        [{"field_name": "params.depth", "ascending": False}],
        [{"field_name": "tags.team"}],
        [{"field_name": "nope"}],
        [{"field_name": "last_updated_timestamp", "ascending": False}],
        [{"ascending": False}],
    ):
        named(f"order {order}", order_by=order)
    named("dataset", datasets=[{"dataset_name": "d", "dataset_digest": "1"}])
    named("dataset and metric", datasets=[{"dataset_name": "e"}], filter_string="metrics.auc > 0.6")
    named("dataset without name", datasets=[{"dataset_digest": "1"}])
    named("at most 2", max_results=2)
    named("at most 0", max_results=0)
    named("at most 51", max_results=51)
    named("bad token", page_token="nope")
    page = client.search_logged_models([experiment], max_results=3)
    note(
        "next", [each.name for each in client.search_logged_models([experiment], max_results=3, page_token=page.token)]
    )
    note.attempt(
        "other filter, same token", client.search_logged_models, [experiment], "name = 'm1'", page_token=page.token
    )
    note.attempt("unknown", client.get_logged_model, "m-" + "0" * 32)
    note.attempt("finish unknown", client.finalize_logged_model, "m-" + "0" * 32, LoggedModelStatus.READY)
    note.attempt("tag unknown", client.set_logged_model_tags, "m-" + "0" * 32, {"a": "b"})
    note.attempt("delete unknown", client.delete_logged_model, "m-" + "0" * 32)
    for name in ("", "a/b", "a:b", "a.b", "a%b", "a'b", 'a"b', "ä b", "n" * 500, "n" * 501):
        shown = name if len(name) < 20 else f"{len(name)} long"
        note.attempt(
            f"name {shown!r}", lambda n=name: client.create_logged_model(experiment, name=n).name.startswith(n)
        )
    note.attempt("in unknown", client.create_logged_model, "987654321")
    client.delete_logged_model(ids[3])
    note.attempt("deleted", client.get_logged_model, ids[3])
    # one character, for a server that makes up a name may make one up with an m
    note("found then", [each.name for each in client.search_logged_models([experiment], "name LIKE 'm_'")])
    client.create_registered_model("logged")
    version = client.create_model_version("logged", made[0].artifact_location, model_id=ids[0])
    note("version", version)
    note("second", client.create_model_version("logged", made[0].model_uri, model_id=ids[0]))
    note("tags then", client.get_logged_model(ids[0]).tags)
    note.attempt(
        "of unknown model", client.create_model_version, "logged", "models:/m-" + "0" * 32, model_id="m-" + "0" * 32
    )
    note("download", client.get_model_version_download_uri("logged", "1"))
    mlflow.set_experiment("logged models")
    with mlflow.start_run(run_name="active") as active:
        model = mlflow.initialize_logged_model(name="initialised", params={"a": "b"})
        mlflow.log_model_params({"c": "d"}, model.model_id)
        mlflow.finalize_logged_model(model.model_id, "READY")
    note("initialised", mlflow.get_logged_model(model.model_id))
    note("its run", client.get_run(active.info.run_id).outputs)
