"""Log and register models, set an alias, load by alias and by version, and predict."""

import mlflow
import numpy as np
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression


def run(note, server):
    mlflow.set_experiment("models")
    x = np.arange(20, dtype="float64").reshape(10, 2)
    y = x @ np.array([2.0, 3.0]) + 1
    client = mlflow.MlflowClient()
    for round_ in range(2):
        with mlflow.start_run(run_name=f"fit {round_}"):
            model = LinearRegression().fit(x[: 5 + round_], y[: 5 + round_])
            info = mlflow.sklearn.log_model(
                model,
                "model",
                signature=infer_signature(x, y),
                input_example=x[:2],
                registered_model_name="priced",
            )
            note("flavors", sorted(info.flavors))
            note("version", getattr(info, "registered_model_version", None))
    client.set_registered_model_alias("priced", "champion", "1")
    note("by alias", client.get_model_version_by_alias("priced", "champion"))
    for uri in ("models:/priced@champion", "models:/priced/2", "models:/priced/latest"):
        loaded = mlflow.pyfunc.load_model(uri)
        note(uri, np.round(loaded.predict(x[:3]), 6))
    note("native", np.round(mlflow.sklearn.load_model("models:/priced@champion").coef_, 6))
    client.set_registered_model_alias("priced", "champion", "2")
    note("moved", client.get_registered_model("priced").aliases)
    note("model", client.get_registered_model("priced"))
    note("versions", client.search_model_versions("name='priced'"))
    note("download", client.get_model_version_download_uri("priced", "1"))
    client.delete_registered_model_alias("priced", "champion")
    note.attempt("no alias", client.get_model_version_by_alias, "priced", "champion")
    note.attempt("load no alias", mlflow.pyfunc.load_model, "models:/priced@champion")
