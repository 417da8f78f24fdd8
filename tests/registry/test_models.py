"""Registered models: made alone or by their first version, renamed, tagged, and deleted with what is in them."""

from datetime import UTC, datetime, timedelta

import pytest

from mainspring.domain.ids import Digest
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.registry.aliases import alias_history, set_alias
from mainspring.registry.comments import comment_on, list_comments
from mainspring.registry.models import (
    ModelChange,
    create_model,
    delete_model,
    find_model,
    list_models,
    rename_model,
    set_model_tag,
    unset_model_tag,
    update_model,
)
from mainspring.registry.versions import (
    create_version,
    delete_version,
    describe_version,
    find_version,
    list_versions,
    set_stage,
    set_version_tag,
    unset_version_tag,
)
from mainspring.store.events import events, verify_chain

NOW = datetime(2013, 4, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
BY = {"actor": "ada", "at": NOW}


@pytest.fixture
def taken_in(store):
    """Register a version from outside, of a model that is made when it is not there."""

    def take(model: str = "my model", source: str = "s3://b/m", bundle: Digest | None = None):
        if not store.read("SELECT 1 FROM models WHERE name = ?", (model,)):
            create_model(store, model, **BY)
        return create_version(
            store, model, source=source, bundle=bundle, run_id="r1", tags={"a": "1"}, author="bob", at=NOW
        )

    return take


def test_a_model_stands_by_itself_with_what_is_said_of_it(store) -> None:
    made = create_model(store, "my model", description="what", tags={"team": "risk"}, **BY)
    assert (made.owner, made.description, made.tags, made.aliases) == ("ada", "what", {"team": "risk"}, {})
    changed = update_model(store, "my model", ModelChange(description="", owner="eve"), actor="ada", at=LATER)
    assert (changed.owner, changed.description) == ("eve", "")
    assert changed.created_at < changed.updated_at
    with pytest.raises(Conflict, match="a model `my model` already"):
        create_model(store, "my model", **BY)
    with pytest.raises(NotFound, match="Did you mean `my model`"):
        find_model(store, "my mode")
    for name in ("", " ", "a/b", "a:b", "..", "a\n"):
        with pytest.raises(Invalid, match="not a model name"):
            create_model(store, name, **BY)


def test_tags_come_and_go(store, taken_in) -> None:
    version = taken_in()
    set_model_tag(store, "my model", "k", "1", actor="ada"), set_model_tag(store, "my model", "k", "2", actor="ada")
    set_version_tag(store, version, "a", "2", actor="ada")
    assert find_model(store, "my model").tags == {"k": "2"}
    assert find_version(store, "my model/1").tags == {"a": "2"}
    unset_model_tag(store, "my model", "k", actor="ada"), unset_model_tag(store, "my model", "k", actor="ada")
    unset_version_tag(store, version, "a", actor="ada")
    assert find_model(store, "my model").tags == find_version(store, "my model/1").tags == {}
    assert len(events(store, verb="model.untagged")) == 1
    with pytest.raises(NotFound):
        set_model_tag(store, "none", "k", "1", actor="ada")


def test_a_version_that_is_submitted_makes_its_model(register, store) -> None:
    register("a"), register("b")
    (model,) = list_models(store)
    assert (model.name, model.owner) == ("m", "ada")


def test_each_registration_from_outside_is_a_version(taken_in, store) -> None:
    first, second = taken_in(), taken_in()
    assert [first.version, second.version] == [1, 2]
    assert (first.status, first.bundle, first.source, first.stage) == ("registered", None, "s3://b/m", "None")
    with pytest.raises(NotFound, match="no model `none`"):
        create_version(store, "none", source="s", author="bob", at=NOW)


def test_a_deleted_version_is_gone_and_its_number_is_not_given_again(taken_in, store) -> None:
    first, second = taken_in(), taken_in()
    comment_on(store, second, "bad", author="eve", at=NOW)
    set_alias(store, "my model", "staging", 2, at=NOW, reason="r")
    with pytest.raises(Conflict, match="the alias staging points at it"):
        delete_version(store, second, **BY)
    set_alias(store, "my model", "staging", None, at=LATER, reason="r")
    delete_version(store, second, **BY)
    assert [each.version for each in list_versions(store, "my model")] == [first.version]
    assert list_comments(store, second) == []
    assert store.read("SELECT count(*) FROM version_tags WHERE version = 2") == [(0,)]
    assert taken_in().version == 3
    assert [each.subject for each in events(store, verb="version.deleted")] == ["models/my model/2"]


def test_a_version_goes_with_its_free_aliases_but_not_while_it_serves(taken_in, store) -> None:
    version = taken_in(bundle=Digest("a" * 64))
    (
        set_alias(store, "my model", "a", 1, at=NOW, reason="r"),
        set_alias(store, "my model", "champion", 1, at=NOW, reason="r"),
    )
    with pytest.raises(Conflict, match="champion"):
        delete_version(store, version, drop_aliases=True, **BY)
    set_alias(store, "my model", "champion", None, at=NOW, reason="r")
    delete_version(store, version, drop_aliases=True, **BY)
    assert find_model(store, "my model").aliases == {}
    assert [each.version for each in alias_history(store, "my model", "a")] == [1, None]


def test_a_deleted_model_leaves_only_the_history_of_its_aliases(taken_in, store) -> None:
    taken_in(bundle=Digest("a" * 64)), taken_in()
    set_alias(store, "my model", "champion", 1, at=NOW, reason="r")
    with pytest.raises(Conflict, match="in use"):
        delete_model(store, "my model", **BY)
    set_alias(store, "my model", "champion", None, at=NOW, reason="r")
    assert delete_model(store, "my model", **BY) == 2
    assert list_models(store) == list_versions(store) == []
    assert len(alias_history(store, "my model")) == 2
    assert taken_in().version == 1
    assert verify_chain(store) > 5


def test_a_renamed_model_takes_everything_with_it(taken_in, store) -> None:
    taken_in()
    set_alias(store, "my model", "staging", 1, at=NOW, reason="r")
    create_model(store, "taken", **BY)
    with pytest.raises(Conflict, match="a model `taken` already"):
        rename_model(store, "my model", "taken", **BY)
    renamed = rename_model(store, "my model", "other", **BY)
    assert renamed.aliases == {"staging": 1}
    assert find_version(store, "other@staging").tags == {"a": "1"}


def test_stages_follow_each_other_and_may_archive(taken_in, store) -> None:
    first, second = taken_in(), taken_in()
    set_stage(store, first, "Production", **BY), set_stage(store, second, "Production", archive_others=True, **BY)
    assert [each.stage for each in list_versions(store, "my model")] == ["Production", "Archived"]
    assert events(store, verb="version.staged")[-1].details["archived"] == [1]
    with pytest.raises(Invalid, match="no stage"):
        set_stage(store, first, "Nowhere", **BY)  # type: ignore[arg-type]


def test_words_about_a_version_are_kept_in_order(taken_in, store) -> None:
    version = taken_in()
    describe_version(store, version, "the first", **BY)
    (
        comment_on(store, version, " looks good ", author="eve", at=NOW),
        comment_on(store, version, "no", author="bob", at=NOW),
    )
    assert find_version(store, "my model/1").description == "the first"
    assert [(each.author, each.text) for each in list_comments(store, version)] == [
        ("eve", "looks good"),
        ("bob", "no"),
    ]
    for text in ("", "  ", "x" * 20_001):
        with pytest.raises(Invalid):
            comment_on(store, version, text, author="eve", at=NOW)
    # the log is never erased, so it holds that something was said, and not what
    assert all("looks good" not in str(event.details) for event in events(store))
