"""Evidently's data drift preset at its defaults: any column, and its verdict on the dataset (half of the columns)."""

from evidently import Report
from evidently.presets import DataDriftPreset
from windows import frame, judge, reference_and_windows
from world import Rows

reference, windows = reference_and_windows()
before = frame(reference)


def flagged(rows: Rows) -> "dict[str, list[str]]":
    """Return the drifted columns, and all of them where the dataset is called drifted."""
    found, dataset = [], []
    for each in Report([DataDriftPreset()]).run(frame(rows), before).dict()["metrics"]:
        config, value = each["config"], each["value"]
        if "column" not in config:
            dataset = ["dataset"] if value["share"] >= config["drift_share"] else []
            continue
        # tests of p-values flag below their threshold, distances above
        is_test = "p_value" in config["method"] or "p-value" in config["method"]
        if (float(value) < config["threshold"]) if is_test else (float(value) >= config["threshold"]):
            found.append(config["column"])
    return {"any column": found, "dataset": dataset}


judge(flagged, windows)
