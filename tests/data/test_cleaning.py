"""Cleaning: each rule tells what it did, and every row comes out once, changed or set aside."""

import json
from pathlib import Path

import pytest

from mainspring.data.cleaning import Cleaned, Effect, clean
from mainspring.data.schema_file import read_schema, write_schema
from mainspring.data.table import connect, quoted_files, read_columns
from mainspring.errors import Invalid

CSV = """city,price,unit,dist,at,seats,sold
 Paris ,"$1,200.50",mi,10,01/02/2013 05:00,4,2
paris,15%,km,10,01/02/2013 06:00,0,3
Rome,-,km,x,01/02/2013 06:00,4,4
Rome,7,km,12,99/02/2013,4,4
ROME,7,km,12,03/02/2013 00:00,4,4
ROME,8,km,900000,04/02/2013 00:00,4,4
NA,9,km,11,05/02/2013 00:00,4,9
"""
RULES = """
columns:
  city: {type: string, nullable: true}
  sold: {type: number, max: 5, severity: quarantine}
  price: {type: number, nullable: true}
clean:
  - {missing: ["-", "NA"]}
  - {trim: [city]}
  - {lower: [city]}
  - {parse: [price, dist, seats, sold], as: number}
  - {parse: [at], as: timestamp, format: "%d/%m/%Y %H:%M", zone: America/New_York}
  - {convert: dist, times: 2, plus: 1, where: "unit = 'mi'"}
  - {replace: {rome: roma}, columns: [city]}
  - {outliers: [dist], beyond: 50}
  - {never: "seats = 0 AND sold > 0"}
  - {once: [city, price]}
"""


@pytest.fixture
def cleaned(tmp_path: Path) -> Cleaned:
    (tmp_path / "t.csv").write_text(CSV)
    (tmp_path / "s.yaml").write_text(RULES)
    return clean(tmp_path / "t.csv", read_schema(tmp_path / "s.yaml"), tmp_path)


def test_every_row_is_accepted_or_set_aside_with_its_reasons(cleaned: Cleaned) -> None:
    assert (cleaned.n_ingested, cleaned.n_accepted, cleaned.n_set_aside) == (7, 2, 5)
    aside = read_columns(cleaned.set_aside)
    told = dict(zip(aside["#row"].tolist(), aside["#reasons"].tolist(), strict=True))
    assert told == {
        1: "['never seats = 0 AND sold > 0']",
        2: "['parse price, dist, seats, sold']",
        3: "[parse at, 'once city, price']",
        5: "[outliers dist]",
        6: "[sold max]",
    }
    original = json.loads(aside["#original"][1])
    assert (original["dist"], original["city"]) == ("x", "Rome")


def test_values_are_changed_and_counted_with_samples(cleaned: Cleaned) -> None:
    rows = read_columns(cleaned.accepted)
    assert rows["city"].tolist() == ["paris", "roma"]
    assert rows["price"].tolist() == [1200.5, 7.0]
    assert rows["dist"].tolist() == [21.0, 12.0]
    assert str(rows["at"][0]) == "2013-02-01T10:00:00.000000"
    effects = {(each.rule.split()[0], each.column): each for each in cleaned.effects}
    assert effects["trim", "city"] == Effect("trim city", "city", 1, 0, ((0, " Paris ", "Paris"),))
    assert effects["lower", "city"].changed == 5
    assert effects["missing", "price"].samples == ((2, "-", None),)
    assert effects["parse", "dist"].set_aside == 1
    assert effects["replace", "city"].changed == 4
    assert effects["outliers", "dist"].samples == ((5, "900000.0", None),)
    assert effects["sold", ""].set_aside == 1


def test_of_rows_that_stand_twice_the_first_good_one_is_kept(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("k,v\na,-1\na,1\na,2\n,1\n,1\n")
    (tmp_path / "s.yaml").write_text("columns: {}\nclean: [{parse: [v], as: integer}, {never: v < 0}, {once: [k]}]\n")
    found = clean(tmp_path / "t.csv", read_schema(tmp_path / "s.yaml"), tmp_path)
    assert read_columns(found.accepted)["v"].tolist() == [1, 1, 1]
    assert found.n_set_aside == 2


def test_cleaning_what_is_clean_changes_nothing(tmp_path: Path, cleaned: Cleaned) -> None:
    rules = (
        "columns: {}\nclean: [{trim: [city]}, {lower: [city]}, {parse: [price], as: number}, {once: [city, price]}]\n"
    )
    (tmp_path / "s2.yaml").write_text(rules)
    (tmp_path / "in.parquet").write_bytes(cleaned.accepted.read_bytes())
    again = clean(tmp_path / "in.parquet", read_schema(tmp_path / "s2.yaml"), tmp_path)
    assert [(each.changed, each.set_aside) for each in again.effects] == [(0, 0)] * 4
    assert (again.n_accepted, again.n_set_aside) == (2, 0)


@pytest.mark.parametrize(
    ("rules", "hour"),
    [
        ("columns: {t: {type: timestamp}}", 12),
        ("columns: {}\nclean: [{parse: [t], as: timestamp, zone: America/New_York}]", 17),
    ],
)
def test_the_offset_of_a_timestamp_is_heeded_and_a_zone_is_for_those_without(
    tmp_path: Path, rules: str, hour: int
) -> None:
    offsets = {"": hour, "Z": 12, "+02:00": 10, "-05:00": 17, " -05:00": 17, "+0200": 10, " America/New_York": 17}
    rows = "".join(f"{number},2026-01-01T12:00:00{each}\n" for number, each in enumerate(offsets))
    (tmp_path / "t.csv").write_text(f"id,t\n{rows}")
    (tmp_path / "s.yaml").write_text(f"{rules}\n")
    found = clean(tmp_path / "t.csv", read_schema(tmp_path / "s.yaml"), tmp_path)
    assert [each.item().hour for each in read_columns(found.accepted)["t"].astype("M8[s]")] == list(offsets.values())


def test_a_format_with_an_offset_gives_the_moment_in_utc(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,t\n1,01/02/2026 12:00 +0200\n")
    rule = "{parse: [t], as: timestamp, format: '%d/%m/%Y %H:%M %z'}"
    (tmp_path / "s.yaml").write_text(f"columns: {{}}\nclean: [{rule}]\n")
    found = clean(tmp_path / "t.csv", read_schema(tmp_path / "s.yaml"), tmp_path)
    assert str(read_columns(found.accepted)["t"].astype("M8[s]")[0]) == "2026-02-01T10:00:00"


@pytest.mark.parametrize("hidden", ["", ", {drop: [city]}"])
def test_a_column_of_any_name_stands_in_the_record_of_what_was_set_aside(tmp_path: Path, hidden: str) -> None:
    (tmp_path / "t.csv").write_text("written,staged,city\n-1,a,Rome\n1,b,Rome\n")
    rules = f"columns: {{}}\nclean: [{{parse: [written], as: integer}}, {{never: written < 0}}{hidden}]\n"
    (tmp_path / "s.yaml").write_text(rules)
    found = clean(tmp_path / "t.csv", read_schema(tmp_path / "s.yaml"), tmp_path)
    (original,) = read_columns(found.set_aside)["#original"]
    assert json.loads(original).items() >= {"written": "-1", "staged": "a"}.items()


def test_rules_are_written_back_as_they_were_read(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(RULES)
    schema = read_schema(tmp_path / "s.yaml")
    (tmp_path / "again.yaml").write_text(write_schema(schema))
    assert read_schema(tmp_path / "again.yaml") == schema


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("{trim: [city]}", "no list"),
        ("[trim]", "is not a mapping"),
        ("[{trimm: [city]}]", "does not say what it does"),
        ("[{trim: []}]", "names no column"),
        ("[{trim: [city], as: number}]", "`as` is not a word of trim"),
        ("[{parse: [city], as: money}]", "as is `money`"),
        ("[{parse: [city], as: number, zone: UTC}]", "Only timestamps"),
        ("[{parse: [at], as: timestamp, format: '%H:%M %z', zone: UTC}]", "reads an offset"),
        ("[{convert: dist, times: many}]", "times is `many`"),
        ("[{missing: NA}]", "are no list"),
        ("[{replace: [a]}]", "are no mapping"),
        ("[{outliers: dist, then: drop}]", "then is `drop`"),
        ("[{trim: [citi]}]", "no column `citi`"),
        ("[{convert: dist, times: 2}]", "not a number yet"),
        ("[{parse: [dist], as: number}, {trim: [dist]}]", "is a number where trim wants text"),
        ("[{never: 'cities > 3'}]", "no column `cities`"),
        ("[{never: '(select 1) = 1'}]", "reads a table"),
    ],
)
def test_a_rule_with_a_fault_is_refused_with_the_place(tmp_path: Path, rules: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(CSV)
    (tmp_path / "s.yaml").write_text(f"columns: {{}}\nclean: {rules}\n")
    with pytest.raises(Invalid, match=rf"(?s){said}.*clean"):
        clean(tmp_path / "t.csv", read_schema(tmp_path / "s.yaml"), tmp_path)


def test_whole_numbers_keep_their_digits_or_are_set_aside(tmp_path: Path) -> None:
    texts = ("9007199254740993", "9007199254740992", "1,234", "+12.0", "100%", "9007199254740993.0", "9" * 20, "1.5")
    (tmp_path / "t.csv").write_text("n\n" + "".join(f'"{text}"\n' for text in texts))
    (tmp_path / "s.yaml").write_text("columns: {n: {type: integer}}\n")
    made = clean(tmp_path / "t.csv", read_schema(tmp_path / "s.yaml"), tmp_path)
    with connect() as engine:
        accepted, aside = (
            engine.execute(f"SELECT * FROM {quoted_files([each])}").fetchall()
            for each in (made.accepted, made.set_aside)
        )
    assert [row[0] for row in accepted] == [9007199254740993, 9007199254740992, 1234, 12, 1]
    assert [row[0] for row in aside] == [None] * 3


def test_long_whole_numbers_are_unique(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n\n9007199254740993\n9007199254740992\n5\n5\n")
    (tmp_path / "s.yaml").write_text("columns: {n: {type: integer, unique: true, min: 3, severity: quarantine}}\n")
    made = clean(tmp_path / "t.csv", read_schema(tmp_path / "s.yaml"), tmp_path)
    assert (made.n_accepted, made.n_set_aside) == (3, 1)
