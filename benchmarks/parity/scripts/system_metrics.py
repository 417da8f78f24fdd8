"""System metrics sampled beside a run: their names, not their values."""

import time

import mlflow


def run(note, server):
    mlflow.set_experiment("system metrics")
    mlflow.set_system_metrics_sampling_interval(0.2)
    mlflow.set_system_metrics_samples_before_logging(1)
    client = mlflow.MlflowClient()
    with mlflow.start_run(run_name="watched", log_system_metrics=True) as run:
        for _ in range(150):
            time.sleep(0.1)
            if any(key.startswith("system/") for key in client.get_run(run.info.run_id).data.metrics):
                break
    found = client.get_run(run.info.run_id).data.metrics
    note("names", sorted(key for key in found if key.startswith("system/") and "gpu" not in key))
    for key in found:  # the values differ from run to run and would drown the comparison
        if client.get_metric_history(run.info.run_id, key)[0].step is None:
            note("no step", key)
    client.delete_run(run.info.run_id)
