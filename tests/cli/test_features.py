"""`mainspring features`: declared in a file, joined, kept online and read, in words and as JSON."""

import json
from pathlib import Path

import pytest

from mainspring.cli.main import main
from mainspring.cli.why import _fields
from mainspring.data.table import read_columns
from mainspring.govern.why import Explanation

FILE = """
import mainspring as ms
stats = ms.FeatureView("stats", source="trips.csv", keys="driver", time="at", features={"fare_now": "fare"})
shops = ms.FeatureView("shops", source="sales", keys=["city", "n"], time="at", windows={"two": 2},
                       features={"sold": "sum(amount) OVER two"})
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    Path("views.py").write_text(FILE)
    Path("trips.csv").write_text("driver,at,fare\n1,2026-01-01,5\n1,2026-01-02,7.5\n")
    Path("s.csv").write_text("city,n,at,amount\nParis,1,2026-01-01,3\nParis,1,2026-01-02,4\n")

    def ran(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    assert ran("data", "add", "s.csv", "--name", "sales")[0] == 0
    return ran


def test_views_are_joined_from_file_to_file(run) -> None:
    Path("asked.csv").write_text("driver,city,n,seen_at\n1,Paris,1,2026-01-01 12:00:00\n2,Rome,1,2026-01-09\n")
    code, out, _ = run("features", "join", "views.py", "asked.csv", "out.parquet", "--time", "seen_at")
    assert code == 0
    assert out.startswith("out.parquet: 2 rows with stats/")
    found = read_columns(Path("out.parquet"))
    assert str(found["fare_now"].tolist()) == "[5.0, nan]"
    assert str(found["sold"].tolist()) == "[3.0, nan]"


def test_views_are_kept_online_and_read(run) -> None:
    assert "Nothing is in the online store yet" in run("features", "list")[1]
    assert run("features", "materialize", "views.py", "--until", "2026-01-01")[0] == 0
    done = json.loads(run("features", "materialize", "views.py", "--json")[1])
    assert [(each["view"], each["written"], each["anew"], each["entities"]) for each in done] == [
        ("stats", 1, "", 1),
        ("shops", 1, "", 1),
    ]
    found = json.loads(run("features", "read", "stats", "1", "2", "--json")[1])
    assert found["entities"] == {"1": {"fare_now": 7.5}, "2": None}
    assert "Paris,1  7" in run("features", "read", f"shops/{done[1]['version'][:6]}", "Paris,1")[1]
    listed = json.loads(run("features", "list", "--json")[1])
    assert [each["name"] for each in listed] == ["shops", "stats"]
    assert Path(listed[1]["source"]).is_absolute()
    assert "stats/" in run("features", "list")[1]
    shown = json.loads(run("features", "show", "views.py:stats", "--json")[1])
    assert (shown["features"], shown["complete_until"]) == ({"fare_now": "fare"}, done[0]["until"])
    assert "features.materialized" in run("audit", "list", "--json")[1]


def test_an_entity_is_forgotten(run) -> None:
    run("features", "materialize", "views.py")
    done = json.loads(run("features", "forget", "driver", "1", "--json")[1])
    assert [(each["view"], each["rows"]) for each in done] == [("stats", 1)]
    run("features", "materialize", "views.py", "--anew")
    assert json.loads(run("features", "read", "stats", "1", "--json")[1])["entities"] == {"1": None}
    assert "stats/" in run("features", "forget", "driver", "1", "--undo")[1]
    run("features", "materialize", "views.py", "--anew")
    assert json.loads(run("features", "read", "stats", "1", "--json")[1])["entities"] == {"1": {"fare_now": 7.5}}
    kept = json.loads(run("audit", "list", "--json")[1])
    (event,) = [each for each in kept if each["verb"] == "features.forgotten"]
    assert event["details"] == {"key": "driver", "values": 1, "rows": 1}
    assert run("features", "forget", "drivers", "1")[0] == 3


def test_wrong_words_are_told(run) -> None:
    assert run("features", "materialize", "views.py:stat")[::2][0] == 3
    assert "Did you mean `stats`" in run("features", "materialize", "views.py:stat")[2]
    assert run("features", "show", "views.py")[0] == 2
    assert run("features", "read", "stats", "1")[0] == 3
    assert run("features", "materialize", "views.py", "--until", "2999-01-01")[0] == 2
    run("features", "materialize", "views.py")
    assert "The key is a whole number" in run("features", "read", "stats", "x")[2]
    assert "joined by commas" in " ".join(run("features", "read", "--help")[1].split())
    assert run("features", "read", "shops", "Paris")[0] == 2


def test_why_says_what_was_looked_up() -> None:
    lookup = {"version": "0123456789abcdef", "keys": {"driver": 7}, "until": "2026-01-02T03:04:05Z", "at": ""}
    found = Explanation(
        prediction_id="p", at="", request={}, request_id=None, score=0.5, threshold=None, route="champion", label=None,
        labelled_at=None, transforms=[], model_version="m/1", bundle="b", chosen="", run=None, commit="", data={},
        gates=[], approvals=[], author="a", lookups={"stats": lookup},
    )  # fmt: skip
    told = _fields(found)["looked up"]
    assert told == {"stats": "version 0123456789ab of the view, by driver = 7, as known 2026-01-02 03:04"}
