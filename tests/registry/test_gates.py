"""Gates on candidates that are no worse in all and bad somewhere."""

from pathlib import Path

import numpy as np
import pytest

import mainspring as ms
from mainspring.registry.versions import find_champion
from mainspring.workspace import Workspace

pytest.importorskip("sklearn", reason="training needs scikit-learn: pip install 'mainspring[ml]'")


def _candidate(seed: int, *, blind: bool = False, spoilt: bool = False) -> ms.Candidate:
    """Fit on rows whose target follows `pull`; a `blind` model cannot see it, a `spoilt` one says yes to kind b."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    rng = np.random.default_rng(seed)
    rows = 6000
    pull, kind = rng.normal(size=rows), rng.choice(np.array(["a", "b"], dtype=object), rows)
    hit = (rng.random(rows) < 1 / (1 + np.exp(-2 * pull))).astype("int64")
    at = np.datetime64("2024-01-01") + np.arange(rows) * np.timedelta64(15, "m")
    parts = ms.split(pd.DataFrame({"at": at, "pull": pull, "kind": kind, "hit": hit}), time="at", target="hit")
    learnt = parts
    if blind or spoilt:
        train, validation = parts.train.copy(), parts.validation.copy()
        for part in (train, validation):
            hidden = (part["kind"] == "b") | blind
            part.loc[hidden, "hit"] = (rng.random(int(hidden.sum())) < (0.5 if blind else 0.8)).astype("float64")
        learnt = parts._replace(train=train, validation=validation)
    encode = make_column_transformer((OrdinalEncoder(), ["kind"]), ("passthrough", ["pull"]))
    trees = make_pipeline(encode, HistGradientBoostingClassifier(max_iter=20, random_state=0))
    return ms.evaluate(ms.fit({"trees": trees}, learnt), parts, slices=["kind"])


def test_a_candidate_that_is_not_worse_in_all_and_bad_in_one_slice_is_refused(tmp_path: Path) -> None:
    loop = ms.Loop("hits", data=tmp_path, target="hit", gates=[ms.beats_champion()])
    with Workspace(tmp_path / "home", actor="ada") as workspace:
        loop.submit(workspace, _candidate(1, blind=True))
        loop.start_waiting(workspace)
        assert find_champion(workspace.store, "hits") is not None
        version, (gate,) = loop.submit(workspace, _candidate(1, spoilt=True))
        assert not gate.passed
        assert gate.evidence["comparison"]["verdict"] != "worse"  # type: ignore[index]
        assert list(gate.evidence["worse_slices"]) == ["kind=b"]  # type: ignore[call-overload]
        assert "in kind=b worse" in gate.reason
        assert version.status == "refused"
        _, (gate,) = loop.submit(workspace, _candidate(1))
        assert gate.passed
