"""Diagnosis: which cause is suspected from which facts, and what is told beside it."""

import json

import pytest

from mainspring.domain.metric import MetricValue
from mainspring.evaluate.slices import Slice
from mainspring.monitor.diagnosis import Change, Facts, ServiceFacts, SliceChange, diagnose, slice_changes
from mainspring.monitor.drift import ColumnDrift
from mainspring.monitor.joint import JointDrift


def moved(column: str, effect: float, *, is_shifted: bool = True, **details: float) -> ColumnDrift:
    return ColumnDrift(column, "ks", 1e-9, 1e-8, effect, is_shifted, details)


DEPLOYED = Change("2013-06-01T08:00:00Z", "deployment", "version 3 took over")
FAILING = ServiceFacts(error_share=0.2)


@pytest.mark.parametrize(
    ("facts", "suspect"),
    [
        (Facts(), "model"),
        (Facts(drift=[moved("temp", 0.3)]), "model"),
        (Facts(changes=[DEPLOYED]), "code"),
        (Facts(changes=[Change("2013-06-01", "data", "new source")]), "model"),
        (Facts(failed_checks=["`temp` is missing"]), "data"),
        (Facts(drift=[moved("temp", 0.3, missing_change=0.3)]), "data"),
        (Facts(drift=[moved("carrier", 0.3, unseen_share=0.2)]), "data"),
        (Facts(drift=[moved("temp", 0.01, is_shifted=False, mistyped_share=0.02)]), "data"),
        (Facts(drift=[moved("temp", 0.3, missing_change=-0.3)]), "model"),
        (Facts(drift=[moved("carrier", 0.3, unseen_share=0.2)], changes=[DEPLOYED]), "data"),
        (Facts(service=FAILING, failed_checks=["`temp` is missing"], changes=[DEPLOYED]), "infrastructure"),
        (Facts(service=ServiceFacts(p99_ms=90, p99_ms_before=20)), "infrastructure"),
        (Facts(service=ServiceFacts(error_share=0.05, error_share_before=0.05)), "model"),
    ],
)
def test_first_cause_that_explains_the_rest_is_suspected(facts: Facts, suspect: str) -> None:
    found = diagnose(facts)
    assert found.suspect == suspect
    assert found.reason
    assert found.advice


def test_other_causes_are_kept_beside_the_first() -> None:
    found = diagnose(Facts(service=FAILING, failed_checks=["`temp` is missing"], drift=[moved("temp", 0.3)]))
    assert [each.split(" ")[0] for each in found.also] == ["data", "model"]


def test_inputs_that_moved_only_together_are_no_concept_drift() -> None:
    apart, alike = JointDrift(0.8, 0.78, 0.82, 4000), JointDrift(0.55, 0.53, 0.57, 4000)
    assert "joint covariate drift" in diagnose(Facts(joint=apart)).reason
    assert "concept drift" in diagnose(Facts(joint=alike)).reason
    assert "(covariate drift)" in diagnose(Facts(joint=apart, drift=[moved("temp", 0.3)])).reason


def test_lesser_gap_is_told_but_does_not_forbid_retraining() -> None:
    found = diagnose(Facts(drift=[moved("temp", 0.9), moved("pressure", 0.3, missing_change=0.15)]))
    assert found.suspect == "model"
    assert found.also == ("`pressure` is missing in 15.0% more of the rows",)


def test_data_suspect_forbids_retraining() -> None:
    assert "do not retrain" in diagnose(Facts(failed_checks=["`temp` is missing"])).advice


def test_shifted_columns_are_ranked_by_impact() -> None:
    drift = [moved("dest", 0.6), moved("temp", 0.2), moved("origin", 0.9, is_shifted=False)]
    assert [each.column for each in diagnose(Facts(drift=drift)).shifted] == ["dest", "temp"]
    weighed = diagnose(Facts(drift=drift, importances={"temp": 0.5, "dest": 0.1}))
    assert [(each.column, each.impact) for each in weighed.shifted] == [("temp", 0.1), ("dest", pytest.approx(0.06))]


def test_change_after_the_trouble_began_is_innocent() -> None:
    assert diagnose(Facts(changes=[DEPLOYED], first_bad_window="2013-05-20")).suspect == "model"
    same_day = diagnose(Facts(changes=[DEPLOYED], first_bad_window="2013-06-01"))
    assert same_day.suspect == "code"
    assert same_day.changed_before == (DEPLOYED,)


def test_latest_of_the_earlier_changes_is_named() -> None:
    earlier = Change("2013-05-01", "package", "numpy 2.1 to 2.2")
    assert "version 3" in diagnose(Facts(changes=[earlier, DEPLOYED], first_bad_window="2013-06-02")).reason


def test_only_slices_that_got_worse_are_shown() -> None:
    slices = [SliceChange("carrier=EV", 90, 0.1, 0.3), SliceChange("carrier=UA", 90, 0.2, 0.1)]
    assert [each.name for each in diagnose(Facts(slices=slices)).slices] == ["carrier=EV"]


def test_slices_are_paired_by_name() -> None:
    metric = MetricValue("roc_auc", 0.7, 0.6, 0.8, 100)

    def part(name: str, loss_mean: float) -> Slice:
        return Slice(name, (), 100, 0.1, metric, loss_mean, 0.1)

    found = slice_changes([part("a", 0.1), part("b", 0.1)], [part("a", 0.2), part("b", 0.4), part("c", 0.9)])
    assert [(each.name, each.increase) for each in found] == [("b", pytest.approx(0.3)), ("a", pytest.approx(0.1))]


def test_diagnosis_is_readable_and_json_able() -> None:
    found = diagnose(
        Facts(
            drift=[moved("temp", 0.3)],
            changes=[DEPLOYED],
            slices=[SliceChange("carrier=EV", 90, 0.1, 0.3)],
            first_bad_window="2013-06-10",
        )
    )
    lines = found.render().splitlines()
    assert lines[0].startswith("Suspect: code. version 3 took over")
    assert "Since: 2013-06-10" in lines
    assert "Worst slices: carrier=EV 0.100 -> 0.300" in lines
    assert json.loads(json.dumps(found.to_json()))["suspect"] == "code"
