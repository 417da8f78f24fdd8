"""Terms of use: declared in the schema, kept with the version, and obeyed where the data is used."""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import mainspring as ms
from mainspring.cli.main import main
from mainspring.data.checks import check_table
from mainspring.data.cleaning import clean
from mainspring.data.pulling import pull
from mainspring.data.quarantine import ingest, list_ingestions, release, set_aside_rows
from mainspring.data.schema_file import read_schema, write_schema
from mainspring.data.table import frame_of
from mainspring.data.terms import Terms
from mainspring.data.use import refuse_use
from mainspring.data.version_terms import expired_versions, keep_terms, refuse_expired, remove_expired, terms_of
from mainspring.data.versions import add_dataset, find_dataset
from mainspring.domain.moments import SimulatedClock
from mainspring.errors import Invalid, NotFound, Refused
from mainspring.govern.collect import collect_garbage
from mainspring.loop.inputs import obey_terms
from mainspring.train.default import add_labelled
from mainspring.workspace import Workspace

START = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = """
columns:
  id: {type: integer}
  email: {type: string, nullable: true, personal: email, purpose: [billing]}
  agreed: {type: string, nullable: true}
terms:
  purpose: [forecast, billing]
  licence: {name: CC-BY-NC-4.0, severity: warn}
  retain: 30d
  consent: agreed
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))


def schema_file(folder: Path, text: str = TEXT, name: str = "people") -> Path:
    path = folder / f"{name}.schema.yaml"
    path.write_text(text)
    return path


def test_terms_are_read_and_written_as_they_stand(tmp_path: Path) -> None:
    path = schema_file(tmp_path)
    schema = read_schema(path)
    assert schema.terms == Terms(
        ("forecast", "billing"), "CC-BY-NC-4.0", ("commercial",), "warn", retain="30d", consent="agreed"
    )
    assert (schema.columns["email"].personal, schema.columns["email"].purpose) == ("email", ("billing",))
    path.write_text(write_schema(schema))
    assert read_schema(path) == schema


@pytest.mark.parametrize(
    ("terms", "said"),
    [("[a]", "no terms"), ("{porpoise: [a]}", "porpoise"), ("{retain: soon}", "duration"), ("{purpose: []}", "no list"),
     ("{licence: {forbids: [x]}}", "no name"), ("{licence: {name: X, severity: perhaps}}", "perhaps"),
     ("{consent: [a, b]}", "consent is"), ("{licence: {name: [a]}}", "name is")],
)  # fmt: skip
def test_terms_of_the_wrong_form_are_refused(terms: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=said):
        read_schema(schema_file(tmp_path, f"columns: {{}}\nterms: {terms}\n"))


def asked(tmp_path: Path, terms: str, *purposes: str, columns: str = "{}") -> list[str]:
    text = f"columns: {columns}\nterms: {terms}\n"
    return refuse_use(read_schema(schema_file(tmp_path, text)), purposes, where="people.schema.yaml")


def test_a_purpose_must_be_allowed_and_be_said(tmp_path: Path) -> None:
    assert asked(tmp_path, "{purpose: [forecast]}", "forecast") == []
    with pytest.raises(Refused, match=r"for forecast only, not for marketing.*terms\.purpose"):
        asked(tmp_path, "{purpose: [forecast]}", "forecast", "marketing")
    with pytest.raises(Refused, match="no purpose is said"):
        asked(tmp_path, "{purpose: [forecast]}")
    assert asked(tmp_path, "{retain: 30d}") == []


def test_a_column_may_be_closer_than_its_table(tmp_path: Path) -> None:
    columns = "{email: {type: string, personal: email, purpose: [billing]}}"
    with pytest.raises(Refused, match=r"`email` \(email of a person\) may be used for billing only"):
        asked(tmp_path, "{}", "forecast", columns=columns)
    schema = read_schema(schema_file(tmp_path, f"columns: {columns}\n"))
    assert refuse_use(schema, ["forecast"], where="s", columns=["id"]) == []


def test_a_licence_refuses_or_warns_as_declared(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"CC-BY-NC-4\.0 forbids commercial use, and the purpose is commercial"):
        asked(tmp_path, "{licence: CC-BY-NC-4.0}", "commercial")
    with pytest.raises(Refused, match="no purpose is said"):
        asked(tmp_path, "{licence: CC-BY-NC-4.0}")
    assert asked(tmp_path, "{licence: CC-BY-NC-4.0}", "research") == []
    assert asked(tmp_path, "{licence: CC-BY-4.0}", "commercial") == []
    (warning,) = asked(tmp_path, "{licence: {name: House, forbids: [ads], severity: warn}}", "ads")
    assert "House forbids ads use" in warning


def people(rows: int = 10) -> "dict[str, np.ndarray]":
    agreed = np.array(["yes", "TRUE", "no", None, "1"] * (rows // 5), dtype=object)
    return {"id": np.arange(float(rows)), "agreed": agreed}


def test_check_leaves_out_rows_without_consent_and_counts_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = schema_file(tmp_path, "columns: {id: {type: integer}, agreed: {type: string}}\nterms: {consent: agreed}\n")
    with caplog.at_level(logging.INFO, logger="mainspring"):
        checked = ms.check(frame_of(people()), path)
    assert checked["id"].tolist() == [0, 1, 4, 5, 6, 9]
    assert list(checked.columns) == ["id"]  # who agreed is no feature
    assert "10 rows = 6 with consent + 4 left out" in caplog.text
    with pytest.raises(Refused, match="None of 2 rows"):
        ms.check(frame_of({"id": np.zeros(2), "agreed": np.array(["no", None], dtype=object)}), path)
    with pytest.raises(Invalid, match="no column `agreed`"):
        ms.check(frame_of({"id": np.zeros(2)}), path)


def test_check_refuses_another_purpose(tmp_path: Path) -> None:
    path = schema_file(tmp_path, "columns: {id: {type: integer}}\nterms: {purpose: [forecast]}\n")
    table = frame_of({"id": np.arange(3.0)})
    assert len(ms.check(table, path, purpose="forecast")) == 3
    with pytest.raises(Refused, match="not for marketing"):
        ms.check(table, path, purpose=["marketing"])
    with pytest.raises(Refused, match="no purpose is said"):
        ms.check(table, path)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home", clock=SimulatedClock(START))


def written(tmp_path: Path, text: str = "id,email,agreed\n1,a@b.org,yes\n2,c@d.org,no\n3,e@f.org,\n") -> Path:
    path = tmp_path / "people.csv"
    path.write_text(text)
    return path


def test_rows_without_consent_stay_in_quarantine_and_the_account_holds(tmp_path: Path, workspace: Workspace) -> None:
    schema = read_schema(schema_file(tmp_path))
    with workspace:
        at = workspace.clock.now()
        found = ingest(workspace.store, workspace.artifacts, written(tmp_path), schema, name="people", at=at)
        assert (found.n_ingested, found.n_accepted, found.n_set_aside) == (3, 1, 2)
        assert [(each.rule, each.set_aside) for each in found.effects if each.set_aside] == [("consent agreed", 2)]
        kept = find_dataset(workspace.store, "people")
        assert terms_of(workspace.store, kept) == schema.terms
        # what is released is under the same terms, and no longer than the rest
        release(workspace.store, workspace.artifacts, "people", [1], reason="asked", by="me", at=at + timedelta(days=9))
        assert terms_of(workspace.store, find_dataset(workspace.store, "people/2")) == schema.terms
        assert [each.reference for each in expired_versions(workspace.store, START + timedelta(days=31))] == [
            "people/1", "people/2"
        ]  # fmt: skip


def test_a_version_past_its_retention_is_refused_under_any_name_and_then_removed(
    tmp_path: Path, workspace: Workspace
) -> None:
    path, terms = written(tmp_path), Terms(retain="30d")
    with workspace:
        store, artifacts = workspace.store, workspace.artifacts
        first = add_dataset(store, artifacts, path, name="people", at=START)
        keep_terms(store, first, terms, at=START)
        later = START + timedelta(days=29)
        refuse_expired(store, first.digest, at=later)
        over = START + timedelta(days=30)
        add_dataset(store, artifacts, path, name="copy", at=over)
        with pytest.raises(Refused, match=r"`people/1` was to be kept until 2026-01-31"):
            refuse_expired(store, first.digest, at=over)
        path.write_text("id\n7\n")
        second = add_dataset(store, artifacts, path, name="people", at=over)
        keep_terms(store, second, terms, at=over)
        given = {"bundles": workspace.home / "bundles", "grace": timedelta(0), "retention": timedelta(1)}
        soon = datetime.now(UTC) + timedelta(days=1)  # objects are put by the machine's clock
        told = collect_garbage(store, artifacts, now=over, dry_run=True, **given)
        assert [each.reference for each in told.expired] == ["people/1"]
        assert artifacts.exists(first.digest)
        assert collect_garbage(store, artifacts, now=over, **given).expired == told.expired
        assert not expired_versions(store, over)
        assert artifacts.exists(first.digest)  # `copy/1`, which has no retention, holds the same bytes
        keep_terms(store, find_dataset(store, "copy"), Terms(retain="1d"), at=over)
        collect_garbage(store, artifacts, now=max(soon, over + timedelta(days=2)), **given)
        assert not artifacts.exists(first.digest)
        with pytest.raises(NotFound):
            artifacts.read_bytes(first.digest)
        assert find_dataset(store, "people/1").n_rows == 3  # still written down
        with pytest.raises(Refused, match="was removed"):
            refuse_expired(store, first.digest, at=over)


def test_terms_that_change_are_told_in_the_audit_log(tmp_path: Path, workspace: Workspace) -> None:
    with workspace:
        added = add_dataset(workspace.store, workspace.artifacts, written(tmp_path), name="people", at=START)
        for terms in (Terms(retain="30d"), Terms(retain="30d"), Terms(retain="60d")):
            keep_terms(workspace.store, added, terms, at=START)
        events = workspace.store.read("SELECT details FROM events WHERE verb = 'data.terms' ORDER BY number")
    told = [json.loads(details) for (details,) in events]
    assert [(each["before"] or {}).get("retain") for each in told] == [None, "30d"]


def test_the_commands_keep_show_and_obey_terms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema_file(tmp_path)
    path = written(tmp_path)
    assert main(["data", "add", str(path), "--name", "people"]) == 0
    capsys.readouterr()
    assert main(["data", "log", "people", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["terms"]["retain"] == "30d"
    with Workspace() as workspace:
        long_ago = workspace.clock.now() - timedelta(days=40)
        old = add_dataset(workspace.store, workspace.artifacts, written(tmp_path, "id\n1\n"), name="old", at=long_ago)
        keep_terms(workspace.store, old, Terms(retain="30d"), at=long_ago)
    assert main(["data", "checkout", "old/1", "--to", str(tmp_path / "out.csv")]) == 1
    assert "was to be kept until" in capsys.readouterr().err
    assert main(["data", "diff", "old/1", str(path)]) == 1
    assert main(["gc", "--dry-run"]) == 0
    assert "Would remove old/1: its retention ended" in capsys.readouterr().out
    assert main(["gc"]) == 0
    assert "Removed old/1" in capsys.readouterr().out


def test_examples_of_broken_rules_show_no_value_of_a_personal_column(tmp_path: Path) -> None:
    text = (
        "columns:\n  email: {type: string, pattern: '[a-z]+', personal: email}\n  id: {type: integer}\n"
        "rules:\n  short: {row: 'length(email) < id'}\nclean:\n  - {upper: [email]}\n"
    )
    schema = read_schema(schema_file(tmp_path, text))
    path = written(tmp_path, "id,email\n1,jane@secret.org\n")
    told = check_table(path, schema).violations
    assert [each.rule for each in told] == ["pattern", "short"]
    assert told[0].examples == ((0, "(personal)"),)
    assert dict(told[1].examples[0][1]) == {"email": "(personal)", "id": "1.0"}  # type: ignore[call-overload]
    cleaned = clean(path, schema, tmp_path)
    assert "jane" not in repr(cleaned).lower()
    assert [each.changed for each in cleaned.effects if each.rule == "upper email"] == [1]


def test_personal_columns_that_are_declared_are_no_surprise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, schema = written(tmp_path), schema_file(tmp_path)
    assert main(["data", "personal", str(path), "--schema", str(schema)]) == 0
    assert main(["data", "personal", str(path), "--schema", str(schema), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["undeclared"] == []
    schema.write_text(TEXT.replace("personal: email, ", ""))
    assert main(["data", "personal", str(path), "--schema", str(schema)]) == 1
    assert "personal: email" in capsys.readouterr().err


def test_a_retention_beyond_the_calendar_does_not_end() -> None:
    assert Terms(retain="180d").ends_at(datetime(9999, 12, 31, tzinfo=UTC)) is None


def test_a_pull_hands_on_terms_and_takes_no_rows_past_their_retention(workspace: Workspace) -> None:
    terms = Terms(("forecast",), retain="30d")
    rows = [{"id": 1}]

    def take(at: datetime, cursor: str = "id") -> str:
        store, artifacts = workspace.store, workspace.artifacts
        return pull(store, artifacts, lambda _: rows, name="d", at=at, source="s", cursor=cursor).reference

    with workspace:
        take(START)
        keep_terms(workspace.store, find_dataset(workspace.store, "d"), terms, at=START)
        rows[:] = [{"id": 2}]
        assert take(START + timedelta(days=20)) == "d/2"
        assert terms_of(workspace.store, find_dataset(workspace.store, "d/2")) == terms
        over = START + timedelta(days=30)
        assert [each.reference for each in expired_versions(workspace.store, over)] == ["d/1", "d/2"]
        rows[:] = [{"id": 3}]
        with pytest.raises(Refused, match="`d/2` was to be kept until"):
            take(over)
        assert take(over, cursor="") == "d/3"  # of other rows, which have their own time
        assert terms_of(workspace.store, find_dataset(workspace.store, "d/3")) == terms
        assert len(expired_versions(workspace.store, over + timedelta(days=29))) == 2
        with pytest.raises(Refused):  # the very rows that were to go
            take(over + timedelta(days=30), cursor="")


def test_nothing_of_an_ingestion_is_shown_past_its_retention(tmp_path: Path, workspace: Workspace) -> None:
    schema = read_schema(schema_file(tmp_path, TEXT + "clean: [{upper: [agreed]}]\n"))
    with workspace:
        store, artifacts = workspace.store, workspace.artifacts
        ingest(store, artifacts, written(tmp_path), schema, name="people", at=START)
        assert len(set_aside_rows(store, artifacts, "people", at=START)) == 2
        assert any(each.samples for each in list_ingestions(store)[0].effects)
        over = START + timedelta(days=30)
        with pytest.raises(Refused, match="`people/1` was to be kept until"):
            set_aside_rows(store, artifacts, "people", at=over)
        with pytest.raises(Refused, match="`people/1` was to be kept until"):
            release(store, artifacts, "people", [1], reason="asked", by="me", at=over)
        remove_expired(store, over)
        (found,) = list_ingestions(store)
        assert found.effects
        assert not any(each.samples for each in found.effects)


def test_other_terms_of_the_same_bytes_are_taken_and_told(tmp_path: Path, workspace: Workspace) -> None:
    with workspace:
        store, path = workspace.store, written(tmp_path)
        for days, retain in enumerate(("30d", "7d")):
            schema = read_schema(schema_file(tmp_path, TEXT.replace("30d", retain)))
            ingest(store, workspace.artifacts, path, schema, name="people", at=START + timedelta(days=days))
        assert find_dataset(store, "people").version == 1
        assert terms_of(store, find_dataset(store, "people")) == schema.terms
        assert expired_versions(store, START + timedelta(days=7))
        (told,) = store.read("SELECT details FROM events WHERE verb = 'data.ingested' ORDER BY number DESC LIMIT 1")
        details = json.loads(told[0])
        assert (details["terms_before"]["retain"], details["terms"]["retain"]) == ("30d", "7d")


def test_bytes_past_their_retention_are_not_ingested_again(tmp_path: Path, workspace: Workspace) -> None:
    schema = read_schema(schema_file(tmp_path))
    other = read_schema(schema_file(tmp_path, TEXT + "clean: [{upper: [email]}]\n"))
    with workspace:
        store, artifacts, path = workspace.store, workspace.artifacts, written(tmp_path)
        ingest(store, artifacts, path, schema, name="people", at=START)
        over = START + timedelta(days=30)
        for each in (schema, other):  # cleaned in another way they are the same people
            with pytest.raises(Refused, match="`people/1` was to be kept until"):
                ingest(store, artifacts, path, each, name="again", at=over)
        remove_expired(store, over)
        path.write_text(path.read_text() + "4,g@h.org,no\n")  # another file of which the same rows are accepted
        with pytest.raises(Refused, match="`people/1` was to be kept until"):
            ingest(store, artifacts, path, schema, name="again", at=over)
        assert len(list_ingestions(store)) == 1


def test_the_terms_of_a_version_reach_its_bytes_without_a_schema(tmp_path: Path, workspace: Workspace) -> None:
    path = written(tmp_path)
    with workspace:
        store = workspace.store
        obey_terms(workspace, {"data": path, "c": 1.0}, [])
        kept = add_dataset(store, workspace.artifacts, path, name="people", at=START)
        keep_terms(store, kept, Terms(("forecast",), retain="30d"), at=START)
        moved = path.rename(tmp_path / "others.csv")
        obey_terms(workspace, {"data": moved}, ["forecast"])
        with pytest.raises(Refused, match="not for marketing") as caught:
            obey_terms(workspace, {"data": moved}, ["marketing"])
        assert caught.value.where == "people/1, terms.purpose"
        workspace.clock.advance_to(START + timedelta(days=30))
        with pytest.raises(Refused, match="`people/1` was to be kept until"):
            obey_terms(workspace, {"data": moved}, ["forecast"])


def test_labelled_rows_need_consent_where_the_table_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = schema_file(tmp_path, "columns: {id: {type: integer}, agreed: {type: string}}\nterms: {consent: agreed}\n")
    table = ms.check(frame_of(people()), path)
    (tmp_path / "more.csv").write_text("id,agreed\n20,yes\n21,no\n22,\n")
    (tmp_path / "silent.csv").write_text("id\n30\n31\n")
    with caplog.at_level(logging.INFO, logger="mainspring"):
        assert add_labelled(table, tmp_path / "more.csv")["id"].tolist() == [0, 1, 4, 5, 6, 9, 20]
        assert len(add_labelled(table, tmp_path / "silent.csv")) == 6
    assert "more.csv: 3 rows = 1 with consent + 2 left out" in caplog.text
    assert "silent.csv: 2 rows = 0 with consent + 2 left out" in caplog.text
    assert len(add_labelled(frame_of(people())[["id"]], tmp_path / "silent.csv")) == 12
