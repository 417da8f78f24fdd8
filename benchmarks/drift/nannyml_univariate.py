"""NannyML's univariate drift with the statistics that Mainspring reports too, the window as one chunk."""

import warnings

warnings.simplefilter("ignore")

from inputs import NUMBERS, TEXTS, cpu, frame, peak_mb, sides, tell  # noqa: E402
from nannyml import UnivariateDriftCalculator  # noqa: E402

reference, window, _ = sides()
before, now = frame(reference), frame(window)
base = peak_mb()
start = cpu()
calculator = UnivariateDriftCalculator(
    column_names=[*NUMBERS, *TEXTS],
    treat_as_categorical=list(TEXTS),
    continuous_methods=["kolmogorov_smirnov", "jensen_shannon", "wasserstein"],
    categorical_methods=["chi2", "jensen_shannon"],
    # its thresholds are three deviations over chunks of the reference, so that it needs some
    chunk_size=len(before) // 10,
)
calculator.fit(before)
fitted = cpu() - start
start = cpu()
found = calculator.calculate(now).to_df()
spent = cpu() - start
analysed = found[found[("chunk", "chunk", "period")] == "analysis"]
flagged = {
    name
    for name in [*NUMBERS, *TEXTS]
    for column in analysed.columns
    if column[0] == name and column[2] == "alert" and analysed[column].any()
}
tell(reference=fitted, window=spent, flagged=list(flagged), base_mb=base)
