"""Rules that hide: what stood in such a column is nowhere afterwards, and tables still join."""

import hashlib
import hmac
import json
import os
from pathlib import Path

import duckdb
import pytest

from mainspring.artifacts.secret_keys import make_key, read_key
from mainspring.cli.main import main
from mainspring.data.quarantine import ingest, release, set_aside_rows
from mainspring.data.schema_file import read_schema, write_schema
from mainspring.data.table import Columns, read_columns
from mainspring.data.versions import find_dataset
from mainspring.errors import Conflict, Invalid, NotFound, Refused
from mainspring.workspace import Workspace

SECRETS = (
    "jane.doe@secret.org",
    "JOHN@secret.org",
    "+49 30 1234567",
    "0171-99887766",
    "1984-03-17",
    "Doefamily",
    "77.5",
)
ROWS = f"""id,email,phone,birthday,last_name,income,note
1,{SECRETS[0]},{SECRETS[2]},{SECRETS[4]},{SECRETS[5]},{SECRETS[6]},fine
2,{SECRETS[1]},{SECRETS[3]},no date,{SECRETS[5]},12,broken
3,{SECRETS[0]},5,{SECRETS[4]},{SECRETS[5]},999,fine
3,{SECRETS[0]},,,,,twice
"""
RULES = """
columns:
  id: {type: integer}
  email: {type: string, nullable: true}
  income: {type: number, nullable: true, max: 500, severity: quarantine}
clean:
  - {trim: [email, note]}
  - {lower: [email]}
  - {replace: {"0171-99887766": "0171 99887766"}, columns: [phone]}
  - {parse: [birthday], as: timestamp}
  - {parse: [income], as: number}
  - {once: [id]}
  - {pseudonym: [email], key: people}
  - {mask: [phone], keep_last: 2}
  - {generalise: [birthday], to: year}
  - {generalise: [income], to: 50}
  - {drop: [last_name]}
"""


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAINSPRING_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    return make_key("people").parent


def files(tmp_path: Path, rows: str = ROWS, rules: str = RULES) -> tuple[Path, Path]:
    (tmp_path / "people.csv").write_text(rows)
    (tmp_path / "people.schema.yaml").write_text(rules)
    return tmp_path / "people.csv", tmp_path / "people.schema.yaml"


def everything_in(workspace: Workspace) -> str:
    """Return all that the workspace holds as text: its bytes, its tables, and its Parquet files read."""
    told = [path.read_bytes().decode("latin-1") for path in workspace.home.rglob("*") if path.is_file()]
    for (table,) in workspace.store.read("SELECT name FROM sqlite_master WHERE type = 'table'"):
        told.append(repr(workspace.store.read(f"SELECT * FROM {table}")))
    for (digest,) in workspace.store.read(
        "SELECT set_aside FROM ingestions WHERE set_aside IS NOT NULL UNION SELECT digest FROM dataset_versions"
    ):
        with duckdb.connect() as connection:
            rows = connection.execute(f"SELECT * FROM read_parquet('{workspace.artifacts.path_of(digest)}')").fetchall()
        told.append(repr(rows))
    return "\n".join(told)


def accepted(workspace: Workspace, name: str = "people") -> Columns:
    digest = find_dataset(workspace.store, name).digest
    (workspace.home / "look.parquet").write_bytes(workspace.artifacts.path_of(digest).read_bytes())
    return read_columns(workspace.home / "look.parquet")


def test_what_a_rule_hides_is_nowhere_in_the_workspace(tmp_path: Path) -> None:
    path, schema = files(tmp_path)
    with Workspace(tmp_path / "home") as workspace:
        found = ingest(
            workspace.store, workspace.artifacts, path, read_schema(schema), name="people", at=workspace.clock.now()
        )
        assert (found.n_ingested, found.n_accepted, found.n_set_aside) == (4, 1, 3)
        assert found.original is None
        held = set_aside_rows(workspace.store, workspace.artifacts, "people", at=workspace.clock.now())
        whole = everything_in(workspace)
        for secret in (*SECRETS, SECRETS[1].lower(), "0171 99887766", "1984-03", "no date"):
            assert secret not in whole, secret
            assert secret not in repr(found) + repr(held)
        assert "broken" in whole  # what is not hidden is still there as it came
        assert [each.row for each in held] == [1, 2, 3]
        assert held[0].values["email"] == pseudonym(SECRETS[1].lower())
        assert held[1].values["phone"] == "****"
        assert "last_name" not in held[0].values
        effects = {(each.rule.split()[0], each.column): each for each in found.effects}
        assert effects["lower", "email"].changed == 1
        assert not any(each.samples for each in found.effects if each.column in read_schema(schema).hidden)


def pseudonym(text: str) -> str:
    return hmac.new(read_key("people"), text.encode(), hashlib.sha256).hexdigest()[:32]


def test_values_become_what_their_rules_say(tmp_path: Path) -> None:
    path, schema = files(tmp_path)
    with Workspace(tmp_path / "home") as workspace:
        ingest(workspace.store, workspace.artifacts, path, read_schema(schema), name="people", at=workspace.clock.now())
        table = accepted(workspace)
    assert {name: str(array[0]) for name, array in table.items()} == {
        "id": "1.0", "email": pseudonym(SECRETS[0]), "phone": "****67", "birthday": "1984-01-01T00:00:00.000000",
        "income": "50.0", "note": "fine",
    }  # fmt: skip


def test_a_row_that_is_released_brings_nothing_back(tmp_path: Path) -> None:
    path, schema = files(tmp_path)
    with Workspace(tmp_path / "home") as workspace:
        now = workspace.clock.now()
        ingest(workspace.store, workspace.artifacts, path, read_schema(schema), name="people", at=now)
        release(workspace.store, workspace.artifacts, "people", [2], reason="rich, not wrong", by="me", at=now)
        assert accepted(workspace)["email"].tolist() == [pseudonym(SECRETS[0])] * 2
        assert not any(secret in everything_in(workspace) for secret in SECRETS)


def test_tables_join_by_pseudonyms_whatever_the_column_and_its_type(tmp_path: Path) -> None:
    rules = "columns: {}\nclean:\n  - {pseudonym: [COLUMN], key: people}\n"
    found = []
    with Workspace(tmp_path / "home") as workspace:
        for number, column in enumerate(["customer", "buyer"]):
            path = tmp_path / f"{column}.{'csv' if number else 'parquet'}"
            with duckdb.connect() as connection:
                connection.execute(f"COPY (SELECT unnest([17, 4, NULL]) AS {column}) TO '{path}'")
            (tmp_path / "s.yaml").write_text(rules.replace("COLUMN", column))
            schema = read_schema(tmp_path / "s.yaml")
            ingest(workspace.store, workspace.artifacts, path, schema, name=column, at=workspace.clock.now())
            found.append(accepted(workspace, column)[column].tolist())
    assert found[0] == found[1] == [pseudonym("17"), pseudonym("4"), None]


def test_an_error_repeats_nothing_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, schema = files(tmp_path, rows=ROWS + f'9,"{SECRETS[0]}" {SECRETS[2]},"open\n')
    assert main(["data", "clean", str(path), str(schema), "--name", "people"]) == 2
    said = capsys.readouterr()
    assert not any(secret in said.out + said.err for secret in SECRETS)
    assert "is not repeated" in said.err
    path, schema = files(tmp_path, rules=RULES + '  - {never: "CAST(note AS INTEGER) > 0 AND email <> note"}\n')
    assert main(["data", "clean", str(path), str(schema), "--name", "people"]) == 2
    said = capsys.readouterr()
    assert not any(secret in said.out + said.err for secret in SECRETS)


def test_a_column_that_is_not_there_is_no_reason_to_go_on(tmp_path: Path) -> None:
    path, schema = files(tmp_path, rules=RULES.replace("drop: [last_name]", "drop: [surname]"))
    with Workspace(tmp_path / "home") as workspace, pytest.raises(Invalid, match="no column `surname`"):
        ingest(workspace.store, workspace.artifacts, path, read_schema(schema), name="p", at=workspace.clock.now())


def test_a_rule_wants_its_type(tmp_path: Path) -> None:
    path, schema = files(tmp_path, rules="columns: {}\nclean:\n  - {generalise: [birthday], to: year}\n")
    with Workspace(tmp_path / "home") as workspace, pytest.raises(Invalid, match="wants a timestamp"):
        ingest(workspace.store, workspace.artifacts, path, read_schema(schema), name="p", at=workspace.clock.now())


@pytest.mark.parametrize(
    "rule",
    ["{pseudonym: [a]}", "{mask: [a], keep_last: two}", "{generalise: [a]}", "{generalise: [a], to: week}",
     "{generalise: [a], to: -5}", "{drop: []}", "{mask: [a], key: k}"],
)  # fmt: skip
def test_rules_of_the_wrong_form_are_refused(rule: str, tmp_path: Path) -> None:
    _, schema = files(tmp_path, rules=f"columns: {{}}\nclean:\n  - {rule}\n")
    with pytest.raises(Invalid, match=r"clean\[0\]"):
        read_schema(schema)


def test_a_schema_with_rules_that_hide_is_written_as_it_is_read(tmp_path: Path) -> None:
    _, path = files(tmp_path)
    schema = read_schema(path)
    assert schema.hidden == ("email", "phone", "birthday", "income", "last_name")
    path.write_text(write_schema(schema))
    assert read_schema(path) == schema


def test_a_key_is_made_once_and_read_by_its_owner_alone(keys: Path) -> None:
    assert read_key("people") != read_key_made("other")
    with pytest.raises(Conflict):
        make_key("people")
    with pytest.raises(NotFound, match=r"bring its file back.* mainspring data key nobody"):
        read_key("nobody")
    with pytest.raises(Invalid):
        make_key("../../escape")
    (keys / "people.key").write_text("short")
    with pytest.raises(Invalid):
        read_key("people")
    if os.name == "posix":
        assert (keys / "other.key").stat().st_mode & 0o777 == 0o600
        (keys / "other.key").chmod(0o644)
        with pytest.raises(Refused, match="Others may read"):
            read_key("other")


def read_key_made(name: str) -> bytes:
    make_key(name)
    return read_key(name)


def test_without_the_key_nothing_is_ingested(tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, schema = files(tmp_path)
    (keys / "people.key").unlink()
    assert main(["data", "clean", str(path), str(schema), "--name", "people"]) == 3
    assert "mainspring data key people" in capsys.readouterr().err
    assert main(["data", "key", "people"]) == 0
    assert main(["data", "clean", str(path), str(schema), "--name", "people", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["original"] is None
    assert main(["gc", "--grace", "1s"]) == 0


def test_long_whole_numbers_stay_two_people(tmp_path: Path) -> None:
    rows = "SELECT * FROM (VALUES (9007199254740993, 'ann', 1.0), (9007199254740992, 'bob', 2.5)) t(ssn, name, n)"
    duckdb.sql(f"COPY ({rows}) TO '{tmp_path / 'people.parquet'}' (FORMAT parquet)")
    (tmp_path / "people.csv").write_text("ssn,name,n\n9007199254740993,ann,1\n9007199254740992,bob,2.5\n")
    rules = "columns: {}\nclean: [{once: [ssn]}, {pseudonym: [ssn], key: people}]\n"
    (tmp_path / "s.schema.yaml").write_text(rules)
    workspace = Workspace()
    for name in ("people.parquet", "people.csv"):
        made = ingest(
            workspace.store, workspace.artifacts, tmp_path / name, read_schema(tmp_path / "s.schema.yaml"),
            name="people", at=workspace.clock.now(),
        )  # fmt: skip
        assert made.n_set_aside == 0
        assert accepted(workspace)["ssn"].tolist() == [pseudonym("9007199254740993"), pseudonym("9007199254740992")]
