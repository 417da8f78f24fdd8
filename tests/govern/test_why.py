"""From one prediction back to everything behind it."""

import pytest

from mainspring.errors import NotFound
from mainspring.govern import explain


def test_a_prediction_is_traced_to_model_run_data_gates_and_approver(life) -> None:
    workspace = life.workspace
    found = explain(workspace.store, workspace.log, life.asked[0])
    assert (found.prediction_id, found.request_id, found.route) == (life.asked[0], "r-1", "champion")
    assert found.request == {"age": 30.0, "plan": "basic"}
    assert 0 < found.score < 1
    assert 0 < found.threshold < 1
    assert (found.label, found.labelled_at, found.at) == ("yes", "2013-04-03T00:00:00.000000Z", found.labelled_at)
    assert (found.model_version, found.bundle, found.author) == ("churn/1", life.version.bundle, "ada")
    assert found.run is not None
    assert found.run.run_id == life.version.run_id
    assert found.run.parameters["target"] == "churned"
    assert "roc_auc" in found.run.metrics
    assert found.data == {"data": "churn.data/1"}
    assert [gate.gate for gate in found.gates] == ["goal", "beats_champion", "replay"]
    assert all(gate.passed for gate in found.gates)
    assert [(each.approver, each.role, each.comment) for each in found.approvals] == [("eve", "reviewer", "fine")]
    assert found.chosen
    assert found.transforms


def test_a_prediction_without_a_label_and_with_a_gap_is_explained_too(life) -> None:
    found = explain(life.workspace.store, life.workspace.log, life.asked[2])
    assert (found.label, found.request["age"]) == (None, None)


def test_what_was_never_asked_is_not_found(life) -> None:
    with pytest.raises(NotFound):
        explain(life.workspace.store, life.workspace.log, "0" * 32)
