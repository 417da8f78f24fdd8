"""Files of a run: text, dicts, figures, tables, folders, listing, download, deletion."""

from pathlib import Path

import mlflow
import pandas as pd
from mlflow import MlflowClient


def run(note, server):
    mlflow.set_experiment("artifacts")
    client = MlflowClient()
    with mlflow.start_run(run_name="files") as run:
        mlflow.log_text("hello\n", "notes/hello.txt")
        mlflow.log_text("", "notes/empty.txt")
        mlflow.log_dict({"a": [1, 2], "ä": None}, "data/settings.json")
        mlflow.log_dict({"a": {"b": 1}}, "data/settings.yaml")
        mlflow.log_table({"x": [1, 2], "y": ["a", "b"]}, "table.json")
        mlflow.log_table(pd.DataFrame({"x": [3], "y": ["c"]}), "table.json")
        folder = Path("folder/inner")
        folder.mkdir(parents=True)
        (folder / "deep file.bin").write_bytes(bytes(range(256)) * 40)
        (folder.parent / "top ü.txt").write_text("top")
        mlflow.log_artifacts("folder", "copied")
        mlflow.log_artifact("folder/top ü.txt")
        mlflow.log_artifact("folder", "whole")
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots()
        axes.plot([1, 2, 3])
        mlflow.log_figure(figure, "plots/line.png")
    run_id = run.info.run_id
    for path in (None, "notes", "data", "copied", "copied/inner", "whole", "whole/folder", "plots", "nowhere"):
        listed = note.attempt(f"list {path}", client.list_artifacts, run_id, path)
        note("sorted", [each.path for each in listed or []] == sorted(each.path for each in listed or []))
    note.attempt("list a file", client.list_artifacts, run_id, "notes/hello.txt")
    local = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="copied"))
    note("downloaded", sorted(str(p.relative_to(local)) for p in local.rglob("*")))
    note("bytes", (local / "inner/deep file.bin").read_bytes() == bytes(range(256)) * 40)
    note("text", mlflow.artifacts.load_text(f"runs:/{run_id}/notes/hello.txt"))
    note("dict", mlflow.artifacts.load_dict(f"runs:/{run_id}/data/settings.json"))
    whole = Path(client.download_artifacts(run_id, ""))
    note("everything", sorted(str(p.relative_to(whole)) for p in whole.rglob("*") if p.is_file()))
    note.attempt("download nothing", client.download_artifacts, run_id, "nowhere.txt")
    note.attempt("up and out", client.list_artifacts, run_id, "../..")
    note.attempt("absolute", client.list_artifacts, run_id, "/etc")
    note.attempt("log out", client.log_text, run_id, "x", "../../out.txt")
    note.attempt("unknown run", client.list_artifacts, "0" * 32)
    note("table", mlflow.load_table("table.json", run_ids=[run_id]).to_dict("list"))
    repository = mlflow.store.artifact.artifact_repository_registry.get_artifact_repository(run.info.artifact_uri)
    repository.delete_artifacts("whole")
    note("deleted", sorted(each.path for each in client.list_artifacts(run_id)))
    note.attempt("delete again", repository.delete_artifacts, "whole")
    repository.delete_artifacts("notes/empty.txt")
    note("one deleted", [each.path for each in client.list_artifacts(run_id, "notes")])
