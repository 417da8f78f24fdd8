"""Personal data: every planted kind is told, what only looks like it is not, and no value comes out."""

import json
import random
from pathlib import Path

import duckdb
import pytest

from mainspring.cli.main import main
from mainspring.data.personal import personal_data
from mainspring.data.personal_kinds import named_kind
from mainspring.errors import NotFound


def luhn(digits: str) -> str:
    """Return the digits with their check digit."""
    total = sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def iban(rng: random.Random) -> str:
    """Return a German IBAN with right check digits."""
    account = "".join(rng.choices("0123456789", k=18))
    return f"DE{98 - int(account + '131400') % 97:02}{account}"


def bsn(rng: random.Random) -> str:
    """Return a Dutch citizen number."""
    while True:
        digits = [rng.randrange(1, 10) for _ in range(8)]
        last = sum(d * (9 - i) for i, d in enumerate(digits)) % 11
        if last < 10:
            return "".join(map(str, digits)) + str(last)


PLANTED = {
    "email": lambda rng: f"please write to jane.doe{rng.randrange(999)}@mail.example.org, thanks",
    "iban": lambda rng: f"pay to {iban(rng)} today",
    "card": lambda rng: luhn("4" + "".join(rng.choices("0123456789", k=14))),
    "phone": lambda rng: f"call +49 30 {rng.randrange(10**6, 10**7)} after six",
    "ssn": lambda rng: f"{rng.randrange(100, 665)}-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}",
    "ip": lambda rng: f"from {rng.randrange(1, 223)}.{rng.randrange(255)}.{rng.randrange(255)}.7:443",
    "mac": lambda rng: ":".join(f"{rng.randrange(256):02x}" for _ in range(6)),
    "user_url": lambda rng: f"https://shop.example/users/jdoe{rng.randrange(999)}/orders",
    "coordinates": lambda rng: f"{rng.uniform(40, 50):.5f}, {rng.uniform(-10, 10):.5f}",
}


def written(path: Path, columns: dict[str, list[object]]) -> Path:
    names = ", ".join(f'unnest(${number + 1}) AS "{name}"' for number, name in enumerate(columns))
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT {names}) TO '{path}'", list(columns.values()))
    return path


@pytest.mark.parametrize("kind", PLANTED)
def test_each_kind_is_found_in_a_text_among_others_without_it(kind: str, tmp_path: Path) -> None:
    rng = random.Random(0)
    texts: list[object] = [
        PLANTED[kind](rng) if n % 5 == 0 else f"order {n} was late, gate {n % 40}" for n in range(200)
    ]
    path = written(tmp_path / "t.parquet", {"note": texts, "other": ["nothing to see"] * 200})
    found = personal_data(path).findings
    assert [(each.column, each.kind, each.by, each.cells) for each in found] == [("note", kind, "form", 40)]
    assert found[0].share == pytest.approx(0.2)


def test_examples_show_forms_and_never_values(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", {"m": [f"jane.doe{n:03}@mail.example.org" for n in range(50)]})
    (found,) = personal_data(path).findings
    assert found.examples == ("aaaa.aaa999@aaaa.aaaaaaa.aaa",)
    assert "jane" not in repr(found)


def test_numbers_that_pass_a_checksum_by_chance_are_not_told(tmp_path: Path) -> None:
    rng = random.Random(0)
    orders: list[object] = [rng.randrange(4 * 10**15, 5 * 10**15) for _ in range(3_000)]
    codes: list[object] = [f"DE{rng.randrange(10**20):020}" for _ in range(3_000)]
    assert personal_data(written(tmp_path / "t.parquet", {"order": orders, "code": codes})).findings == ()
    cards: list[object] = [int(luhn("4" + "".join(rng.choices("0123456789", k=14)))) for _ in range(300)]
    path = written(tmp_path / "c.parquet", {"n": orders[:300] + cards})
    assert [(each.kind, each.cells >= 300) for each in personal_data(path).findings] == [("card", True)]


def test_what_only_looks_like_it_is_not_told(tmp_path: Path) -> None:
    innocent: dict[str, list[object]] = {
        "at": ["2013-01-02T05:00:00Z", "2013-01-02"], "hours": ["0900-1030", "05:15"], "tail": ["N14228", "N24211"],
        "version": ["1.2.3", "10.0.1-beta"], "price": ["1,200.50", "12.345"], "handle": ["@jane", "a@b"],
        "link": ["https://example.org/flights/12?page=3", "https://example.org/about"],
        "isbn": ["978-3-16-148410-0"] * 2, "number": ["4111 1111", "12345678"],
        "description": ["late arrival", "the phone was off"],
    }  # fmt: skip
    assert personal_data(written(tmp_path / "t.csv", innocent)).findings == ()


def test_an_id_of_a_country_is_told_by_its_checksum(tmp_path: Path) -> None:
    pytest.importorskip("stdnum")
    rng = random.Random(0)
    path = written(
        tmp_path / "t.parquet",
        {"member": [bsn(rng) for _ in range(60)], "random": [str(rng.randrange(10**8, 10**9)) for _ in range(60)]},
    )
    assert [(each.column, each.kind, each.cells) for each in personal_data(path).findings] == [
        ("member", "national_id (nl)", 60)
    ]


def test_a_name_of_a_column_tells_where_no_form_does(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {
        "customerEmail": ["hidden"], "date_of_birth": ["1980-01-01"], "Street": ["Main"], "sex": ["f"],
        "last_name": [None], "airline": ["UA"],
    }  # fmt: skip
    found = personal_data(written(tmp_path / "t.parquet", columns)).findings
    assert [(each.column, each.kind) for each in found] == [
        ("customerEmail", "email"), ("date_of_birth", "birth"), ("Street", "address"), ("sex", "special")
    ]  # fmt: skip
    assert {each.by for each in found} == {"name"}


@pytest.mark.parametrize(
    "name", ["description", "flight", "tailnum", "origin", "platform", "sexton", "ipad", "airline name"]
)
def test_names_that_only_hold_such_words_tell_nothing(name: str) -> None:
    assert named_kind(name) == ""


def test_nested_values_are_searched_as_their_text(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"who": {"mail": f"a{n}@b.org"}, "n": n}) + "\n" for n in range(9)))
    assert [(each.column, each.kind, each.cells) for each in personal_data(path).findings] == [("who", "email", 9)]


def test_a_wide_table_is_looked_at_in_parts(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {f"c{n:03}": [f"a{n}@b.org" if n % 10 == 7 else "nothing"] for n in range(160)}
    found = personal_data(written(tmp_path / "t.parquet", columns)).findings
    assert [each.column for each in found] == [f"c{n:03}" for n in range(7, 160, 10)]


def test_a_sample_looks_at_as_many_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "t.parquet", {"m": [f"a{n}@b.org" for n in range(5_000)]})
    found = personal_data(path, sample=400)
    assert (found.rows, found.sampled, found.findings[0].cells) == (400, True, 400)
    assert personal_data(path, sample=400) == found


def test_an_empty_column_and_a_missing_file(tmp_path: Path) -> None:
    assert personal_data(written(tmp_path / "t.parquet", {"email": [None, None]})).findings == ()
    with pytest.raises(NotFound):
        personal_data(tmp_path / "none.csv")


def test_a_broken_file_is_named_without_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n" * 2 + 'jane@secret.org,"open\n')
    assert main(["data", "personal", str(path)]) == 2
    said = capsys.readouterr().err
    assert "cannot be read" in said
    assert "jane" not in said


def test_the_command_says_no_and_prints_no_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "t.csv", {"m": ["jane@secret.org"] * 3, "x": [1, 2, 3]})
    assert main(["data", "personal", str(path)]) == 1
    said = capsys.readouterr()
    assert "aaaa@aaaaaa.aaa" in said.out
    assert "jane" not in said.out + said.err
    assert main(["data", "personal", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["kind"] == "email"
    clean = written(tmp_path / "u.csv", {"x": [1, 2, 3]})
    assert main(["data", "personal", str(clean)]) == 0
    assert "No personal data" in capsys.readouterr().out
