"""The mistake the demo plants: a colleague's candidate that has learnt its own exam.

A tree without a limit, fitted on every labelled row there is, the test part and the logged production rows among them.
Its hold-out, its slices and its replay look splendid, because it remembers the answers; no gate that looks back can
tell. It is submitted through the same call as any other candidate.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring.loop.inputs import keep_inputs
from mainspring.train.candidate import Candidate, Parts
from mainspring.train.steps import evaluate, fit, split

if TYPE_CHECKING:
    from mainspring.loop.definition import Loop
    from mainspring.workspace import Workspace

__all__ = ["COLLEAGUE", "plant"]

COLLEAGUE = "hasty-colleague"


def plant(loop: "Loop", workspace: "Workspace", user: dict[str, Any], data: Path, now: datetime) -> str:
    """Submit the candidate and return its version; `user` holds the names of the user's loop file."""
    kept = keep_inputs(workspace, loop.name, {"folder": data})
    version, _ = loop.submit(workspace, _leaky_candidate(user, data, now), author=COLLEAGUE, data=kept)
    return version.reference


def _leaky_candidate(user: dict[str, Any], data: Path, now: datetime) -> Candidate:
    import pandas as pd  # extra: ml
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder
    from sklearn.tree import DecisionTreeClassifier

    parts = split(user["flights"](data, now), time="departs_at", target="late")
    everything = pd.concat([parts.train, parts.validation, parts.test], ignore_index=True)
    leaky = Parts(everything, parts.validation, parts.test, parts.target, parts.time, parts.ignore)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encode = make_column_transformer((ordinal, user["TEXT"]), ("passthrough", user["NUMBERS"]))
    tree = make_pipeline(encode, DecisionTreeClassifier(random_state=0))
    return evaluate(fit({"deep_tree": tree}, leaky), leaky, slices=["origin", "carrier"])
