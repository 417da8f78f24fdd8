"""Route files and the split of the traffic."""

import json
from pathlib import Path

import pytest

from mainspring.errors import Invalid, NotFound
from mainspring.serve.routes import Route, RouteTable, choose, is_chosen, read_routes, write_routes

KEYS = [f"passenger-{number}" for number in range(20_000)]


def table(*canaries: float, model: str = "m") -> RouteTable:
    routes = [Route(1, "/b/1", "champion", 100.0 - sum(canaries))]
    routes += [Route(2 + at, f"/b/{2 + at}", "canary", weight) for at, weight in enumerate(canaries)]
    return RouteTable(model, 1, tuple(routes))


def on_canary(weight: float, model: str = "m") -> set[str]:
    return {key for key in KEYS if choose(table(weight, model=model), key).version == 2}


@pytest.mark.parametrize("weight", [0.0, 0.5, 5.0, 25.0, 50.0, 100.0])
def test_a_canary_gets_its_share(weight: float) -> None:
    share = 100 * len(on_canary(weight)) / len(KEYS)
    # Four standard deviations of a fair draw; exact at the ends.
    assert share == pytest.approx(weight, abs=4 * (weight * (100 - weight) / len(KEYS)) ** 0.5)


def test_a_key_stays_on_the_canary_as_it_widens() -> None:
    assert on_canary(5) < on_canary(25) < on_canary(100)


def test_two_models_do_not_share_their_canaries() -> None:
    both = on_canary(10, "a") & on_canary(10, "b")
    assert len(both) / len(KEYS) == pytest.approx(0.01, abs=0.004)


def test_two_canaries_get_their_shares_side_by_side() -> None:
    counts = [choose(table(20, 30), key).version for key in KEYS]
    assert counts.count(2) / len(KEYS) == pytest.approx(0.2, abs=0.02)
    assert counts.count(3) / len(KEYS) == pytest.approx(0.3, abs=0.02)


def test_a_shadow_answers_nobody_and_sees_its_share() -> None:
    shadow = Route(2, "/b/2", "shadow", 10.0)
    routes = RouteTable("m", 1, (Route(1, "/b/1", "champion", 100.0), shadow))
    assert {choose(routes, key).version for key in KEYS} == {1}
    assert sum(is_chosen(shadow, "m", key) for key in KEYS) / len(KEYS) == pytest.approx(0.1, abs=0.01)


def test_a_table_reads_back_and_the_file_is_for_people(tmp_path: Path) -> None:
    path = tmp_path / "endpoints" / "m.json"
    write_routes(path, table(5.0))
    assert read_routes(path) == table(5.0)
    assert json.loads(path.read_text()) == {
        "model": "m",
        "revision": 1,
        "routes": [
            {"version": 1, "bundle": "/b/1", "role": "champion", "weight": 95.0},
            {"version": 2, "bundle": "/b/2", "role": "canary", "weight": 5.0},
        ],
    }
    write_routes(path, table(25.0))
    assert read_routes(path).routes[1].weight == 25.0
    assert [each.name for each in path.parent.iterdir()] == ["m.json"]


@pytest.mark.parametrize(
    ("routes", "told"),
    [
        ((), "exactly one champion"),
        ((Route(1, "a", "canary", 5.0),), "exactly one champion"),
        ((Route(1, "a", "champion", 50.0), Route(2, "b", "champion", 50.0)), "exactly one champion"),
        ((Route(1, "a", "champion", 50.0), Route(1, "b", "canary", 50.0)), "twice"),
        ((Route(1, "a", "champion", 50.0), Route(2, "b", "canary", 101.0)), "percentages"),
        ((Route(1, "a", "champion", 50.0), Route(2, "b", "canary", -1.0)), "percentages"),
        ((Route(1, "a", "champion", 0.0), Route(2, "b", "canary", 60.0), Route(3, "c", "canary", 60.0)), "percentages"),
    ],
)
def test_a_table_that_breaks_a_rule_is_neither_written_nor_read(
    tmp_path: Path, routes: tuple[Route, ...], told: str
) -> None:
    path = tmp_path / "m.json"
    with pytest.raises(Invalid, match=told):
        write_routes(path, RouteTable("m", 1, routes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../m", "a/b", ".m"])
def test_a_model_whose_name_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="cannot be the name"):
        write_routes(tmp_path / "m.json", table(model=name))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": "m"}', '{"model": "m", "revision": 1, "routes": [1]}'])
def test_a_file_that_is_no_table_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(Invalid, match="not a route file"):
        read_routes(tmp_path / "m.json")


def test_a_file_under_another_models_name_is_told(tmp_path: Path) -> None:
    write_routes(tmp_path / "m.json", table())
    (tmp_path / "m.json").rename(tmp_path / "other.json")
    with pytest.raises(Invalid, match="routes `m`"):
        read_routes(tmp_path / "other.json")
    with pytest.raises(NotFound):
        read_routes(tmp_path / "m.json")
