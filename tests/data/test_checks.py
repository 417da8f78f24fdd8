"""Checks: every rule is asked of files and of columns alike, in one scan, and shows the rows that break it."""

from pathlib import Path

import numpy as np
import pytest

from mainspring.data.checks import Scan, check_table, violations
from mainspring.data.schema import ColumnRule, Rule, Schema
from mainspring.data.schema_file import read_schema, write_schema
from mainspring.data.table import columns_of, connect, read_columns
from mainspring.errors import Invalid, NotFound

FLIGHTS = columns_of(
    {
        "tail": ["N1", "N2", "N2", None, "X9"],
        "gone": [10, 20, 20, 30, 40],
        "landed": [15, 15, 25, 31, None],
        "carrier": ["AA", "AA", "B6", "B6", "B6"],
    }
)
RULES = """
columns:
  tail: {type: string, nullable: true, pattern: "N[0-9]+", severity: quarantine}
rows: {min: 1, max: 4}
rules:
  lands_later: {row: landed > gone, severity: quarantine}
  early: {table: "avg(gone) < 20 and count(*) < 100"}
  once: {unique: [tail, gone], severity: warn}
  known: {columns: [tail], found_in: planes, there: [n]}
  mix: {column: carrier, shares: {AA: 0.9, B6: 0.1}, most: 0.2, severity: warn}
"""
SAID = [
    "max_rows: 5 rows where at most 4 are wanted",
    "tail: 1 x not of the form N[0-9]+ (rows[4].tail = 'X9')",
    "lands_later: 1 x `landed > gone` does not hold (rows[1] = {'landed': '15.0', 'gone': '20.0'})",
    "early: `avg(gone) < 20 and count(*) < 100` does not hold",
    "once: 1 x there already in a row above (rows[2] = {'tail': 'N2', 'gone': '20.0'})",
    "known: 1 x not found in planes (rows[4] = {'tail': 'X9'})",
    "mix: carrier is distributed otherwise: distance 0.500, at most 0.2; `AA` has 40.0% where 90.0% were"
    " (rows[2] = {'carrier': 'B6'}; rows[3] = {'carrier': 'B6'}; rows[4] = {'carrier': 'B6'})",
]


@pytest.fixture
def schema(tmp_path: Path) -> Schema:
    (tmp_path / "s.yaml").write_text(RULES)
    (tmp_path / "planes.csv").write_text("n,seats\nN1,2\nN2,3\nN2,3\n")  # a key twice multiplies no rows
    return read_schema(tmp_path / "s.yaml")


def test_every_kind_of_rule_shows_the_rows_that_break_it(schema: Schema) -> None:
    found = violations(FLIGHTS, schema)
    assert [str(each) for each in found] == SAID
    assert [each.severity for each in found] == ["stop", "quarantine", "quarantine", "stop", "warn", "stop", "warn"]


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_a_file_is_checked_as_its_columns_are(schema: Schema, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"flights.{ending}"
    with connect() as connection:
        connection.register("t", FLIGHTS)
        formats = {"csv": "csv", "parquet": "parquet", "jsonl": "json"}
        connection.execute(f"COPY (FROM t) TO '{path}' (FORMAT {formats[ending]})")
    found = check_table(path, schema)
    assert (found.n_rows, [str(each) for each in found.violations]) == (5, SAID)


def test_rules_are_written_back_as_they_were_read(schema: Schema, tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(write_schema(schema))
    assert read_schema(tmp_path / "again.yaml") == schema


def test_the_other_table_can_be_handed_over(schema: Schema) -> None:
    others = {"planes": columns_of({"n": ["N1", "N2", "X9"]})}
    assert "known" not in {each.rule for each in violations(FLIGHTS, schema, tables=others)}
    with pytest.raises(Invalid, match=r"no column `n`.*rules\.known"):
        violations(FLIGHTS, schema, tables={"planes": columns_of({"m": ["N1"]})})
    with pytest.raises(Invalid, match="`tail` is a string and `n` of `planes` a number"):
        violations(FLIGHTS, schema, tables={"planes": columns_of({"n": [1]})})


@pytest.mark.parametrize("name", ["nowhere", "../planes", "/etc/passwd", "a/b", ""])
def test_another_table_lies_beside_the_schema_or_nowhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "planes.csv").write_text("n\nN1\n")
    (tmp_path / "in").mkdir()
    rule = Rule("known", "found_in", columns=("tail",), other=name, there=("n",))
    with pytest.raises(NotFound, match=r"There is no table.*rules\.known"):
        violations(FLIGHTS, Schema(rules=(rule,), folder=tmp_path / "in"))


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("gonne > 3", "no column `gonne`.*\n.*Did you mean `gone`"),
        ("gone > (select 3)", "reads a table"),
        ("gone in (from read_text('/etc/passwd'))", "reads a table"),
        ("count(*) > (1", "is no expression"),
        ("1) FROM checked WHERE (1", "more than an expression"),
        ("1); SELECT (2", "more than an expression"),
        ("nosuch(gone)", "cannot be asked"),
        ("tail + gone", "cannot be asked"),
        ("", "cannot be asked"),
    ],
)
def test_an_expression_reads_the_columns_of_its_table_and_nothing_else(expression: str, said: str) -> None:
    with pytest.raises(Invalid, match=f"(?s){said}"):
        violations(FLIGHTS, Schema(rules=(Rule("r", "row", expression=expression),)))


def test_names_in_expressions_have_no_case_unless_two_columns_differ_by_it() -> None:
    rule = Schema(rules=(Rule("r", "row", expression="GONE_ > 1"),))
    assert violations(columns_of({"Gone_": [2]}), rule) == []
    with pytest.raises(Invalid, match="More than one column could be `GONE_`"):
        violations(columns_of({"Gone_": [2], "gone_": [2]}), rule)


def test_missing_values_break_no_comparison_but_the_share_of_them_is_bounded() -> None:
    table = columns_of({"x": [1, None, None, float("nan")]})
    assert violations(table, Schema({"x": ColumnRule("number", nullable=True, min=0, max=2, unique=True)})) == []
    assert violations(table, Schema({"x": ColumnRule("number", most_missing=0.75)})) == []
    (found,) = violations(table, Schema({"x": ColumnRule("number", most_missing=0.5)}))
    assert str(found).startswith("x: 75.00% missing where at most 50.00% may be (rows[1].x = None; rows[2]")


def test_truth_values_of_a_text_file_are_truth_values(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("ok,text\nTrue,1\nfalse,x\n")
    assert violations(path, Schema({"ok": ColumnRule("boolean"), "text": ColumnRule("string")})) == []
    path.write_text("ok\nTrue\nperhaps\n")
    (found,) = violations(path, Schema({"ok": ColumnRule("boolean")}))
    assert str(found) == "ok: 1 x string where boolean is wanted (rows[1].ok = 'perhaps')"


def test_a_table_without_rows_asks_only_for_rows() -> None:
    schema = Schema({"a": ColumnRule("number")}, rules=(Rule("r", "row", expression="a > 1"),))
    (found,) = violations({"a": np.array([])}, schema)
    assert found.rule == "min_rows"
    assert violations({"a": np.array([])}, Schema({"a": ColumnRule("number")}, min_rows=0)) == []


def test_all_rules_are_asked_in_one_scan(tmp_path: Path, schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    ask = Scan.ask
    monkeypatch.setattr(Scan, "ask", lambda scan, query: asked.append(query) or ask(scan, query))
    violations(FLIGHTS, Schema({"gone": ColumnRule("number")}, rules=(Rule("r", "row", expression="gone > 1"),)))
    assert len(asked) == 1
    violations(FLIGHTS, schema)
    assert len(asked) == 3  # one for the figures, one for the examples of all that is broken


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("{r: {row: a < b, table: a}}", "says row and table"),
        ("{r: {severity: warn}}", "does not say what it is"),
        ("{r: {row: a < b, severity: loud}}", "severity is `loud`"),
        ("{r: {table: a < b, severity: quarantine}}", "cannot set single rows aside"),
        ("{r: {unique: a}}", "are no list"),
        ("{r: {columns: [a], found_in: b, there: [c, d]}}", "differ in length"),
        ("{r: {column: a, shares: {x: 0.5}}}", "add up to 0.5"),
        ("{r: {column: a, shares: {x: 2}}}", "x is 2"),
        ("{r: {shares: {x: 1}}}", "names no column"),
        ("{r: {row: a, there: [b]}}", "`there` is not a rule"),
        ("{r: {spread: {1: 0.5}}}", "names no column"),
        ("{r: {column: a, spread: {1: 0.5, 2: 0.4}}}", "do not rise"),
        ("{r: {column: a, spread: {x: 0.5}}}", "x is `x`"),
        ("{r: {column: a, spread: {}}}", "do not rise"),
        ("[r]", "not a mapping"),
    ],
)
def test_a_rule_with_a_fault_is_refused_with_the_place(tmp_path: Path, rules: str, said: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"columns: {{a: {{type: number}}}}\nrules: {rules}\n")
    with pytest.raises(Invalid, match=f"(?s){said}.*rules"):
        read_schema(path)


def test_a_column_may_be_named_like_anything_and_an_expression_means_the_column() -> None:
    table = columns_of({"row": [5, 1], "base": [1, 2], "#0": [1, 1]})
    rules = (Rule("r", "row", expression='"row" < 2 AND base < 5'), Rule("once", "unique", columns=("#0",)))
    shown = [each.examples for each in violations(table, Schema(rules=rules))]
    assert shown == [((0, {"row": "5.0", "base": "1.0"}),), ((1, {"#0": "1.0"}),)]
    with pytest.raises(Invalid, match="An expression cannot name `#0`"):
        violations(table, Schema(rules=(Rule("r", "row", expression='"#0" < 2'),)))


def test_a_rule_about_rows_may_look_at_other_rows() -> None:
    table = columns_of({"at": [1, 2, 3, 9, 10], "route": ["a", "a", "b", "b", "b"], "miles": [5, 5, 7, 7, 8]})
    rules = (
        Rule("no_gap", "row", expression='"at" - lag("at") OVER (ORDER BY "at") < 5', severity="quarantine"),
        Rule("one_length", "row", expression="max(miles) OVER w - min(miles) OVER (PARTITION BY route) < 1"),
    )
    with pytest.raises(Invalid, match="is no expression"):
        violations(table, Schema(rules=rules))
    rules = (rules[0], Rule("one_length", "row", expression="miles = median(miles) OVER (PARTITION BY route)"))
    found = violations(table, Schema(rules=rules))
    assert [(each.rule, each.count, [row for row, _ in each.examples]) for each in found] == [
        ("no_gap", 1, [3]),
        ("one_length", 1, [4]),
    ]


def test_values_may_have_to_be_absent_from_another_table(schema: Schema) -> None:
    rule = Rule("new", "absent_from", columns=("tail",), other="planes", there=("n",))
    (found,) = violations(FLIGHTS, Schema(rules=(rule,), folder=schema.folder))
    assert str(found).startswith("new: 3 x stands in planes (rows[0] = {'tail': 'N1'}; rows[1]")


@pytest.mark.parametrize("severity", ["warn", "stop"])
def test_columns_that_are_not_named_are_told_when_the_schema_says_so(tmp_path: Path, severity: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        f"columns: {{gone: {{type: number}}, tail: {{type: string, nullable: true}}}}\nothers: {severity}\n"
    )
    told = read_schema(path)
    (first, second) = violations(FLIGHTS, told)
    assert str(first).startswith("landed: the schema names no such column")
    assert (second.column, second.rule, second.severity) == ("carrier", "others", severity)
    assert "others: " + severity in write_schema(told)
    path.write_text("columns: {gone: {type: number}}\nothers: quarantine\n")
    with pytest.raises(Invalid, match="cannot set single rows aside"):
        read_schema(path)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_all_rows_that_break_a_rule_can_be_written(schema: Schema, tmp_path: Path, ending: str) -> None:
    with Scan(FLIGHTS, schema) as scan:
        scan.check()
        scan.write_broken(tmp_path / f"rows.{ending}")
        with pytest.raises(Invalid, match="no CSV or Parquet"):
            scan.write_broken(tmp_path / "rows.txt")
    rows = read_columns(tmp_path / f"rows.{ending}")
    assert list(rows) == ["#row", "#reasons", "tail", "gone", "landed", "carrier"]
    assert rows["#row"].tolist() == [1, 2, 3, 4]
    assert rows["#reasons"].tolist() == ["lands_later", "once; mix", "mix", "tail pattern; known; mix"]
    assert rows["tail"].tolist() == ["N2", "N2", None, "X9"]


def test_a_value_may_have_to_agree_with_the_one_in_another_table(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "columns: {miles: {type: number, nullable: true}}\n"
        "rules:\n"
        "  length: {column: miles, agrees_with: known, on: [a, b], there: [x, y, m], within: 1, severity: quarantine}\n"
    )
    (tmp_path / "known.csv").write_text("x,y,m\nJFK,LAX,2475\nJFK,EGE,1746\nJFK,EGE,1747\nJFK,,9\n")
    schema = read_schema(tmp_path / "s.yaml")
    ways = ["LAX", "LAX", "LAX", "EGE", "EGE", "BOS", None]
    table = columns_of({"a": ["JFK"] * 7, "b": ways, "miles": [2475, 2476.5, None, 1745, 1749, 3, 3]})
    (found,) = violations(table, schema)
    assert found.message == "2 x another miles than in known"
    assert [row for row, _ in found.examples] == [1, 4]
    (tmp_path / "again.yaml").write_text(write_schema(schema))
    assert read_schema(tmp_path / "again.yaml") == schema


def test_a_share_of_the_rows_may_be_allowed_to_break_a_rule(tmp_path: Path) -> None:
    table = columns_of({"x": [1, 2, 3, 9]})
    for most, n_broken in ((0.25, 0), (0.2, 1)):
        rule = Rule("low", "row", expression="x < 5", most=most)
        assert len(violations(table, Schema(rules=(rule,)))) == n_broken
    assert "1 x `x < 5` does not hold where at most 20.00% of the rows may be" in str(
        violations(table, Schema(rules=(rule,)))[0]
    )
    (tmp_path / "s.yaml").write_text("columns: {}\nrules: {low: {row: x < 5, most: 0.1, severity: quarantine}}\n")
    with pytest.raises(Invalid, match="Rows that may be there are not set aside"):
        read_schema(tmp_path / "s.yaml")


TYPED = Schema(
    {
        "gone": ColumnRule("number"),
        "landed": ColumnRule("number", nullable=True),
        "at": ColumnRule("timestamp", nullable=True),
        "code": ColumnRule("string", nullable=True),
    },
    rules=(
        Rule("lands_later", "row", expression="landed > gone"),
        Rule("early", "table", expression="avg(gone) < 100"),
        Rule("hour", "row", expression="hour(\"at\") < 12 AND code <> 'x'"),
        Rule("known", "found_in", columns=("gone",), other="known", there=("n",)),
        Rule("once", "unique", columns=("code", "gone")),
        Rule("spread", "spread", columns=("gone",), shares={"15": 0.5}, most=0.4),
    ),
)
KNOWN = {"known": columns_of({"n": [10, 20]})}


@pytest.mark.parametrize("ending", ["csv", "parquet", ""])
def test_a_value_of_another_type_is_told_by_its_column_and_missing_to_every_rule(tmp_path: Path, ending: str) -> None:
    table = columns_of(
        {
            "gone": ["10", "20", "n/a", "30"],
            "landed": ["15", "18", "40", "soon"],
            "at": ["2020-01-01 06:00:00", "never", "2020-01-01 13:00:00", None],
            "code": [1, 2, 3, 4],
        }
    )
    path = tmp_path / f"t.{ending}"
    if ending:
        with connect() as connection:
            connection.register("t", table)
            connection.execute(f"COPY (FROM t) TO '{path}' (FORMAT {ending})")
    told = {
        (each.column, each.rule): [row for row, _ in each.examples]
        for each in violations(path if ending else table, TYPED, tables=KNOWN)
    }
    assert told == {
        ("gone", "type"): [2],
        ("landed", "type"): [3],
        ("at", "type"): [1],
        ("code", "type"): [0, 1, 2],
        ("", "lands_later"): [1],
        ("", "hour"): [2],
        ("", "known"): [3],
    }


def test_a_rule_about_a_column_that_the_schema_wants_and_the_table_has_not_is_not_asked() -> None:
    table = columns_of({"landed": [15.0], "at": np.array(["2020-01-01"], dtype="datetime64[us]"), "code": ["a"]})
    assert [str(each) for each in violations(table, TYPED, tables=KNOWN)] == [
        "gone: the column is missing. Known: `at`, `code`, `landed`"
    ]
    with pytest.raises(Invalid, match="no column `gone`"):
        violations(table, Schema(rules=TYPED.rules), tables=KNOWN)


def test_a_rule_that_is_unknown_in_every_row_is_not_broken() -> None:
    table = columns_of({"a": [1.0, 2.0], "b": np.array([np.nan, np.nan])})
    rules = (Rule("r", "row", expression="a < b"), Rule("s", "spread", columns=("a",), shares={"0.5": 0.0}, most=0.1))
    assert violations(table, Schema(rules=rules)) == []


def test_nan_in_a_parquet_file_is_missing_though_the_bounds_of_its_row_groups_do_not_tell_of_it(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    values = np.random.default_rng(0).normal(size=20_000)
    values[5] = np.nan
    parquet.write_table(pa.table({"x": values}), tmp_path / "t.parquet", row_group_size=5_000)
    (found,) = violations(tmp_path / "t.parquet", Schema({"x": ColumnRule("number", min=-10, max=10)}))
    assert str(found) == "x: 1 x missing where a value is wanted (rows[5].x = None)"
    bounded = ColumnRule("number", most_missing=0.1, max=10)
    rules = (Rule("low", "row", expression="x < 10"), Rule("mean", "table", expression="avg(x) < 1"))
    assert violations(tmp_path / "t.parquet", Schema({"x": bounded}, rules=rules)) == []


@pytest.mark.parametrize("rule", ["CAST(email AS INTEGER) > 1", "strptime(email, '%d') IS NULL"])
def test_an_error_of_the_engine_does_not_repeat_a_personal_value(tmp_path: Path, rule: str) -> None:
    (tmp_path / "t.csv").write_text("email\nbob@secret.org\n")
    (tmp_path / "s.yaml").write_text(
        f'columns:\n  email: {{type: string, personal: true}}\nrules:\n  odd: {{row: "{rule}"}}\n'
    )
    with pytest.raises(Invalid, match=r"cannot be asked: .* Error.*not repeated") as caught:
        check_table(tmp_path / "t.csv", read_schema(tmp_path / "s.yaml"))
    assert "bob" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("DECIMAL(38,2)", ("12345678901234567890.12", "12345678901234567890.13")),
        ("DECIMAL(38,0)", ("9007199254740993", "9007199254740992")),
        ("BIGINT", ("9007199254740993", "9007199254740992")),
    ],
)
def test_numbers_that_a_double_rounds_are_told_apart(tmp_path: Path, kind: str, values: tuple[str, str]) -> None:
    one, other = values
    for name, held in (("t", [one, other]), ("twice", [one, one]), ("other", [other])):
        with connect() as connection:
            query = f"SELECT CAST(unnest({held}) AS {kind}) AS id"
            connection.execute(f"COPY ({query}) TO '{tmp_path / name}.parquet'").fetchall()
    path = tmp_path / "s.yaml"
    path.write_text("columns: {id: {type: number, unique: true}}\nrules: {once: {unique: [id]}}\n")
    assert violations(tmp_path / "t.parquet", read_schema(path)) == []
    found = violations(tmp_path / "twice.parquet", read_schema(path))
    assert [each.count for each in found] == [1, 1]
    assert str(found[0].examples[0][1]) == one


LONG = ("9007199254740993", "9007199254740992")
LONGER = ("12345678901234567890.12", "12345678901234567890.13")


@pytest.mark.parametrize(
    ("here", "there", "held"),
    [
        *((here, there, LONG) for here in ("BIGINT", "DECIMAL(38,0)", "DECIMAL(38,2)")
          for there in ("UBIGINT", "DECIMAL(38,0)", "DECIMAL(20,3)")),
        ("DOUBLE", "BIGINT", LONG[::-1]),
        ("DECIMAL(38,2)", "DECIMAL(38,2)", LONGER),
        ("DECIMAL(38,2)", "DECIMAL(38,4)", LONGER),
    ],
)  # fmt: skip
def test_relations_tell_numbers_apart_that_a_double_rounds(
    tmp_path: Path, here: str, there: str, held: tuple[str, str]
) -> None:
    for name, kind, values in (("t", here, [held[0]]), ("same", there, [held[0]]), ("near", there, [held[1]])):
        with connect() as connection:
            query = f"SELECT CAST(unnest({values}) AS {kind}) AS id, id AS v, 1 AS k"
            connection.execute(f"COPY ({query}) TO '{tmp_path / name}.parquet'").fetchall()
    path = tmp_path / "s.yaml"
    for other, broken in (("same", ["alien"]), ("near", ["known", "agrees"])):
        path.write_text(
            f"columns: {{}}\nrules:\n  known: {{columns: [id], found_in: {other}}}\n"
            f"  alien: {{columns: [id], absent_from: {other}}}\n"
            f"  agrees: {{column: v, agrees_with: {other}, on: [k]}}\n"
        )
        assert [each.rule for each in violations(tmp_path / "t.parquet", read_schema(path))] == broken


def test_a_value_agrees_with_all_between_those_of_its_key(tmp_path: Path) -> None:
    with connect() as connection:
        for name, query in (
            ("t", "SELECT 1 AS k, CAST(unnest([1.5, 2, 3, 3.25]) AS DECIMAL(10,2)) AS v"),
            ("u", "SELECT 1 AS k, CAST(unnest([2, 3]) AS DOUBLE) AS v"),
        ):
            connection.execute(f"COPY ({query}) TO '{tmp_path / name}.parquet'").fetchall()
    path = tmp_path / "s.yaml"
    path.write_text("columns: {}\nrules: {a: {column: v, agrees_with: u, on: [k]}}\n")
    (found,) = violations(tmp_path / "t.parquet", read_schema(path))
    assert [row for row, _ in found.examples] == [0, 3]


def test_an_expression_over_keys_does_not_overflow(tmp_path: Path) -> None:
    with connect() as connection:
        query = f"SELECT CAST({2**63 - 1} AS BIGINT) AS id"
        connection.execute(f"COPY ({query}) TO '{tmp_path / 't.parquet'}'").fetchall()
    path = tmp_path / "s.yaml"
    path.write_text("columns: {id: {type: integer, unique: true}}\nrules: {r: {row: id * id > 0}}\n")
    assert violations(tmp_path / "t.parquet", read_schema(path)) == []
