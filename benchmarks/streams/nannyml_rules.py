"""NannyML at its defaults: univariate drift of any column, and its estimate of ROC AUC (CBPE), a chunk a window."""

import warnings

warnings.simplefilter("ignore")

import pandas as pd  # noqa: E402
from nannyml import CBPE, UnivariateDriftCalculator  # noqa: E402
from windows import frame, reference_and_windows, tell  # noqa: E402
from world import NUMBERS, TEXTS  # noqa: E402

reference, windows = reference_and_windows()
names, frames = zip(*((name, frame(rows, with_scores=True)) for name, rows in windows), strict=True)
before, now = frame(reference, with_scores=True), pd.concat(frames, ignore_index=True)
rows = len(frames[0])

drift = UnivariateDriftCalculator(column_names=[*NUMBERS, *TEXTS], treat_as_categorical=list(TEXTS), chunk_size=rows)
told = drift.fit(before).calculate(now).to_df()
told = told[told[("chunk", "chunk", "period")] == "analysis"].reset_index(drop=True)
columns = {
    name: [
        column for column in (*NUMBERS, *TEXTS)
        if any(told.loc[place, key] for key in told.columns if key[0] == column and key[2] == "alert")
    ]
    for place, name in enumerate(names)
}  # fmt: skip
estimator = CBPE(
    y_pred_proba="score",
    y_pred="answer",
    y_true="truth",
    problem_type="classification_binary",
    metrics=["roc_auc"],
    chunk_size=rows,
)
found = estimator.fit(before).estimate(now.drop(columns="truth")).to_df()
found = found[found[("chunk", "period")] == "analysis"].reset_index(drop=True)
estimates = {name: ["roc_auc"] if found.loc[place, ("roc_auc", "alert")] else [] for place, name in enumerate(names)}
tell({"any column": columns, "estimate": estimates})
