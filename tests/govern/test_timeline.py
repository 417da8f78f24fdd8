"""The story of a workspace: every event a sentence, in order, with the traffic between."""

from datetime import UTC, datetime

from mainspring.govern import timeline
from mainspring.govern.timeline import tell
from mainspring.store.events import Event, EventRow, events, verify_chain


def test_a_life_is_told_in_order(life) -> None:
    told = timeline(life.workspace.store, model="churn")
    stages = [each.stage for each in told]
    first = ["check", "split", "candidates", "evaluate", "rule", "register", "gates", "gates"]
    served = [*first, "approve", "promote", "serve", "traffic"]
    assert [each for each in stages if each != "data"][: len(served)] == served
    assert stages.count("data") == 2
    assert [each.at for each in told] == sorted(each.at for each in told)
    assert verify_chain(life.workspace.store) == len(events(life.workspace.store))


def test_sentences_say_who_and_why(life) -> None:
    told = {each.stage: each for each in timeline(life.workspace.store, model="churn")[:11]}
    assert told["approve"].actor == "eve"
    assert told["approve"].text == "approved as reviewer: fine"
    assert told["promote"].text == "became champion: the first version that passed its gates"
    assert "roc_auc 0." in told["evaluate"].text
    assert "goal passed (" in next(each.text for each in timeline(life.workspace.store) if each.stage == "gates")


def test_traffic_stands_between_the_events_it_came_between(life) -> None:
    told = timeline(life.workspace.store, model="churn")
    (at,) = [number for number, each in enumerate(told) if each.stage == "traffic"]
    assert told[at].text == "3 predictions answered, 1 labels came"
    assert told[at - 1].stage == "serve"


def test_a_reader_that_goes_on_reads_nothing_twice(life) -> None:
    store = life.workspace.store
    whole = timeline(store, model="churn")
    middle = next(each.number for each in whole if each.stage == "traffic")
    later = timeline(store, model="churn", after=middle)
    assert [each.number for each in later] == [each.number for each in whole if each.number > middle]
    assert "traffic" not in [each.stage for each in later]


def test_traffic_after_the_last_event_stands_at_the_end_and_other_models_have_none(life) -> None:
    store = life.workspace.store
    promoted = events(store, verb="model.promoted")[0].number
    last = timeline(store, model="churn", limit=promoted)[-1]
    assert (last.stage, last.number, last.text) == ("traffic", 0, "3 predictions answered, 1 labels came")
    assert "traffic" not in [each.stage for each in timeline(store, model="other")]


def test_every_verb_this_life_knows_has_a_sentence(life) -> None:
    for event in events(life.workspace.store):
        stage, text = tell(event)
        assert stage
        assert not text.startswith(event.verb.replace(".", " ")), event.verb


def test_a_verb_nobody_foresaw_is_shown_as_it_is() -> None:
    row = EventRow(1, "", "", "", "comet.seen", "sky", {"tail": "long"}, "")
    assert tell(row) == ("comet", "comet seen: tail long")
    assert tell(EventRow(1, "", "", "", "comet.seen", "sky", {}, "")) == ("comet", "comet seen")


def test_an_empty_workspace_has_no_story(workspace) -> None:
    assert timeline(workspace.store) == []
    workspace.store.change(Event("comet.seen", "sky/1"), lambda _: None)
    (only,) = timeline(workspace.store, model="churn")
    assert only.at <= datetime.now(UTC).isoformat()
