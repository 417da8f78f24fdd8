"""The shortest whole loop: name the data, the target and the goal; all else has a sound default."""

from pathlib import Path

import mainspring as ms

loop = ms.Loop(
    "churn",
    data=Path(__file__).with_name("customers.csv"),
    target="churned",
    time="observed_on",
    goal="roc_auc >= 0.7",
)
