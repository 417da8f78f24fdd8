"""`mainspring data`: from a dirty file to a version with every row accounted for, in words and as JSON."""

import json
import sqlite3
from pathlib import Path

import pytest

from mainspring.cli.main import main

SCHEMA = """columns:
  n: {type: integer, max: 9, severity: quarantine}
clean: [{trim: [t]}]
rules:
  known: {columns: [t], found_in: letters, severity: warn}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    Path("f.csv").write_text("n,t\n1, a\n30,b\nx,c\n")
    Path("s.yaml").write_text(SCHEMA)
    Path("letters.csv").write_text("t\na\n")

    def ran(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    return ran


def test_a_file_is_cleaned_its_rows_are_seen_released_and_compared(run) -> None:
    code, out, _ = run("data", "clean", "f.csv", "s.yaml", "--name", "d")
    assert code == 0
    assert "d/1: 3 rows ingested = 1 accepted + 2 in quarantine" in out
    assert "rows[0] ' a' -> 'a'" in out
    held = json.loads(run("data", "quarantine", "d", "--json")[1])
    assert [(each["row"], each["reasons"]) for each in held] == [(1, ["n max"]), (2, ["parse n"])]
    code, out, err = run("data", "release", "d", "1", "--reason", "checked")
    assert (code, out, "not found in letters" in err) == (0, "d/2: 2 accepted + 1 in quarantine\n", False)
    (account,) = json.loads(run("data", "quarantine", "--json")[1])
    assert (account["n_ingested"], account["n_accepted"], account["n_set_aside"]) == (3, 2, 1)
    found = json.loads(run("data", "diff", "d/1", "d/2", "--key", "t", "--json")[1])
    assert (found["added"], found["removed"], found["changed"], found["examples"]) == (1, 0, 0, ["+ t = b"])
    assert "1 -> 2 rows: 1 added, 0 removed" in run("data", "diff", "d/1", "d/2")[1]
    assert run("gc", "--grace", "1ms")[0] == 0
    assert len(json.loads(run("data", "quarantine", "d", "--json")[1])) == 1  # its bytes are still needed


def test_a_rule_that_only_warns_lets_the_check_pass(run) -> None:
    Path("good.csv").write_text("n,t\n1,z\n")
    code, _, err = run("data", "check", "good.csv", "s.yaml")
    assert (code, "Warning: known: 1 x not found in letters" in err) == (0, True)
    Path("more.csv").write_text("t\nz\n")
    assert run("data", "check", "good.csv", "s.yaml", "--with", "letters=more.csv") == (0, "1 rows fit s.yaml.\n", "")


def test_every_row_that_breaks_a_rule_is_written_with_its_reasons(run) -> None:
    code, _, err = run("data", "check", "f.csv", "s.yaml", "--rows", "rows.csv")
    assert (code, "breaks 2 rules" in err) == (1, True)
    assert Path("rows.csv").read_text().splitlines() == [
        '"#row","#reasons",n,t',
        "0,known,1, a",
        "1,n max; known,30,b",
        "2,n type; known,x,c",
    ]
    Path("good.csv").write_text("n,t\n1,a\n")
    assert run("data", "check", "good.csv", "s.yaml", "--rows", "rows.csv")[0] == 0
    assert Path("rows.csv").read_text() == '"#row","#reasons",n,t\n'
    assert run("data", "check", "good.csv", "s.yaml", "--rows", "rows.txt")[0] == 2


def test_a_schema_is_drafted_from_good_batches_or_read_from_another_librarys_suite(run) -> None:
    for month in (1, 2):
        rows = "".join(f"{'AA' if number % 3 else 'B6'},{number % 40 + month}\n" for number in range(400))
        Path(f"m{month}.csv").write_text("code,miles\n" + rows)
    code, out, _ = run("data", "schema", "m1.csv", "m2.csv")
    Path("m.schema.yaml").write_text(out)
    assert (code, "code_as_before" in out, "miles_as_before" in out) == (0, True, True)
    assert run("data", "check", "m2.csv", "m.schema.yaml")[0] == 0
    Path("m3.csv").write_text(Path("m2.csv").read_text().replace("AA", "B6"))
    assert "distributed otherwise" in run("data", "check", "m3.csv", "m.schema.yaml")[2]
    Path("suite.json").write_text(
        json.dumps(
            {
                "expectations": [
                    {"type": "expect_column_max_to_be_between", "kwargs": {"column": "miles", "max_value": 50}},
                    {"type": "expect_the_moon", "kwargs": {"column": "miles"}},
                ]
            }
        )
    )
    code, out, err = run("data", "schema", "--from", "suite.json")
    assert (code, err) == (0, "Left out: expect_the_moon(column='miles'): there is no such rule\n")
    Path("s2.yaml").write_text(out)
    assert run("data", "check", "m1.csv", "s2.yaml")[0] == 0


def test_a_table_of_a_database_is_pulled_again_and_again(run) -> None:
    with sqlite3.connect("shop.db") as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS id, 'x' AS name")
    connection.close()
    for _ in range(2):
        code, out, _ = run("data", "pull", "sqlite:shop.db#t", "--name", "d", "--cursor", "id", "--json")
        assert (code, json.loads(out)["version"], json.loads(out)["n_rows"]) == (0, 1, 1)


def test_columns_that_know_the_target_fail_the_look_at_leaks(run) -> None:
    lines = [f"{n % 2},{n % 2 * 9 + n / 1000},{n % 5}" for n in range(60)]
    Path("t.csv").write_text("late,minutes,day\n" + "\n".join(lines) + "\n")
    code, out, err = run("data", "leaks", "t.csv", "--target", "late", "--json")
    assert (code, [each["column"] for each in json.loads(out)], "minutes: alone" in err) == (1, ["minutes"], True)
    Path("t.csv").write_text("late,day\n" + "\n".join(f"{n % 2},{n % 5}" for n in range(60)) + "\n")
    assert run("data", "leaks", "t.csv", "--target", "late")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("data clean none.csv s.yaml --name d", 3, "no file `none.csv`"),
        ("data clean f.csv s.yaml --name a/b", 2, "not a dataset name"),
        ("data pull none.db --name d", 3, "no file or folder `none.db`"),
        ("data pull sqlite:none.db --name d", 2, "is not a source"),
        ("data pull sqlite:none.db#t --name d", 3, "no file `none.db`"),
        ("data quarantine d", 3, "Nothing was ingested as `d`"),
        ("data release d 1 --reason x", 3, "Nothing was ingested as `d`"),
        ("data diff f.csv nothing", 3, "no dataset `nothing`"),
        ("data check f.csv s.yaml --with letters", 2, "not NAME=FILE"),
        ("data schema", 2, "Either files or a suite"),
        ("data schema f.csv --from s.json", 2, "Either files or a suite"),
        ("data schema --from s.json", 3, "no suite `s.json`"),
        ("data checkout none.pin", 3, "no pin `none.pin`"),
        ("data checkout d/1", 2, "not said where to"),
        ("data checkout none.pin --to x", 2, "says itself where"),
        ("data status none.pin", 3, "no pin `none.pin`"),
        ("data tag d/1 a/b", 2, "not a tag"),
        ("data tag d/1 gold", 3, "no dataset `d`"),
        ("data add none", 3, "no file"),
        ("data chekout x", 2, "Did you mean `checkout`"),
    ],
)
def test_wrong_words_are_told_and_nothing_is_written(run, words: str, code: int, said: str) -> None:
    found = run(*words.split())
    assert (found[0], said in found[2]) == (code, True), found


def test_a_folder_is_added_pinned_changed_tagged_and_checked_out(run) -> None:
    folder = Path("images")
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"1")
    assert run("data", "status")[:2] == (0, "No pins here. Make one with `mainspring data add PATH --pin`.\n")
    assert json.loads(run("data", "add", "images", "--pin", "--json")[1])["version"] == 1
    assert run("data", "status")[:2] == (0, "images.pin: unchanged (images/1)\n")
    (folder / "a.bin").write_bytes(b"2")
    (folder / "b.bin").write_bytes(b"3")
    assert run("data", "status")[:2] == (1, "images.pin: changed (images/1)\n  + b.bin\n  ~ a.bin\n")
    assert json.loads(run("data", "status", "--json")[1])[0]["changed"] == ["a.bin"]
    assert run("data", "checkout", "images.pin")[0] == 1
    assert run("data", "add", "images")[0] == 0  # its pin is there, and follows
    assert run("data", "status", "images.pin")[:2] == (0, "images.pin: unchanged (images/2)\n")
    assert run("data", "tag", "images/1", "gold")[:2] == (0, "images@gold is images/1\n")
    assert run("data", "tag", "images/2", "gold")[0] == 1
    assert run("data", "pin", "images@gold", "--to", "images")[:2] == (0, "images.pin: images/1\n")
    assert run("data", "checkout", "images.pin")[0] == 0
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == {"a.bin": b"1"}
    log = json.loads(run("data", "log", "images.pin", "--json")[1])
    assert [(each["version"]["version"], each["tags"]) for each in log] == [(2, []), (1, ["gold"])]
    assert run("data", "tag", "images/2", "gold", "--move")[0] == 0
    assert run("data", "checkout", "images@gold", "--to", "out")[0] == 0
    assert Path("out/b.bin").read_bytes() == b"3"


def test_a_pin_that_cannot_be_read_hides_no_other(run) -> None:
    for name in ("one", "two"):
        Path(name).mkdir()
        (Path(name) / "a").write_text(name)
        assert run("data", "add", name, "--pin")[0] == 0
    Path("one.pin").write_text("<<<<<<< HEAD\n" + Path("one.pin").read_text())
    code, out, _ = run("data", "status")
    assert code == 1
    assert "one.pin: unreadable: " in out
    assert "two.pin: unchanged" in out
    told = json.loads(run("data", "status", "--json")[1])
    assert sorted(each["state"] for each in told) == ["unchanged", "unreadable"]
