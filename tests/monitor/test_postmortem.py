"""The draft of a post-mortem says what is recorded, and nothing else."""

from datetime import UTC, datetime, timedelta

import pytest

from mainspring.domain.incident import digest_of
from mainspring.monitor.diagnosis import Change, Facts, SliceChange, diagnose
from mainspring.monitor.incidents import assign_incident, find_incident, move_incident, open_incident
from mainspring.monitor.postmortem import draft_postmortem
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store

NOW = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    opened = open_store(f"sqlite:///{tmp_path}/store.sqlite", actor="ada")
    yield opened
    opened.close()


def opened(store: Store, diagnosis: dict[str, object], *, title: str = "m/1 is worse than promised"):
    return open_incident(
        store,
        model="m",
        version=1,
        rule="quality",
        severity="page",
        title=title,
        text="proven 0.31 > 0.25",
        diagnosis=diagnosis,
        evidence={"lower": 0.31},
        at=NOW,
    )


def test_times_owner_and_digests_stand_in_the_draft(store: Store) -> None:
    incident = opened(store, {})
    assign_incident(store, incident, "weather-team", text="", at=NOW, actor="eve")
    move_incident(store, incident, "acknowledged", text="looking", at=NOW + timedelta(hours=2), actor="eve")
    move_incident(store, incident, "mitigated", text="rolled back", at=NOW + timedelta(days=1, hours=3))
    text = draft_postmortem(find_incident(store, incident.incident_id))
    assert text.startswith(
        "# Post-mortem: m/1 is worse than promised\n\n**A draft of an incident that is still mitigated.**"
    )
    for line in (
        "| owner | weather-team |",
        "| acknowledged after | 2:00:00 |",
        "| mitigated after | 1 day, 3:00:00 |",
        "| resolved after | never |",
        "None is recorded.",
        f"| monitor | opened | proven 0.31 > 0.25 | `{digest_of({'lower': 0.31})[:16]}` |",
        "| eve | acknowledged | looking |  |",
    ):
        assert line in text
    move_incident(store, incident, "resolved", text="well again", at=NOW + timedelta(days=2))
    assert "still" not in draft_postmortem(find_incident(store, incident.incident_id))


def test_the_diagnosis_is_told_whole(store: Store) -> None:
    facts = Facts(
        changes=[Change("2013-03-30T06:00:00Z", "deployment", "m/1 went live")],
        slices=[SliceChange("carrier=AA", 500, 0.10, 0.30)],
        first_bad_window="2013-03-31",
    )
    text = draft_postmortem(opened(store, diagnose(facts).to_json()))
    assert "Suspect: **code**. m/1 went live (deployment) at 2013-03-30T06:00:00Z came just before." in text
    assert "First bad window: 2013-03-31." in text
    assert "| carrier=AA | 500 | 0.1000 | 0.3000 |" in text
    assert "| 2013-03-30T06:00:00Z | deployment | m/1 went live |" in text


def test_words_of_others_break_no_table_and_no_heading(store: Store) -> None:
    incident = opened(store, {"suspect": "data", "reason": "a\n# b"}, title="x\n| y")
    move_incident(store, incident, "resolved", text="| or\nnot", at=NOW)
    text = draft_postmortem(find_incident(store, incident.incident_id))
    assert text.startswith("# Post-mortem: x \\| y\n")
    assert "Suspect: **data**. a # b." in text
    assert "| \\| or not |" in text
    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# Post-mortem: x \\| y"]


def test_what_others_wrote_does_not_act_as_markdown(store: Store) -> None:
    diagnosis = {"suspect": "data", "reason": "a *bold* claim", "also": ["![x](http://tracker)"]}
    title = "<img src=x> [mend](http://evil) `rm` | a_b _c_ & \\"
    text = draft_postmortem(opened(store, diagnosis, title=title))
    assert text.startswith("# Post-mortem: \\<img src=x> \\[mend\\](http://evil) \\`rm\\` \\| a_b \\_c\\_ \\& \\\\\n")
    assert r"a \*bold\* claim." in text
    assert r"- Also: !\[x\](http://tracker)" in text
