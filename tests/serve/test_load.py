"""The load generator and `mainspring bench`: what they count is what the server saw."""

import json
from pathlib import Path
from typing import Any

import pytest

from mainspring.cli.main import main
from mainspring.errors import Unavailable
from mainspring.serve.load import measure
from mainspring.serve.process import ServerProcess

PREDICT = "/models/late-flights/predict"


def test_every_answer_that_is_counted_was_given(site: Any, flight: dict[str, Any]) -> None:
    site.route((1, "champion", 100.0))
    with site.start() as server:
        body = json.dumps([flight, flight]).encode()
        load = measure(server.url, PREDICT, body, rows=2, clients=4, seconds=0.5, pid=server.pid)
    assert (load.clients, load.rows, load.failed) == (4, 2, 0)
    assert load.requests == len(site.records())
    assert 0 < load.p50_ms <= load.p99_ms <= load.most_ms < 1000 * load.seconds
    assert load.per_second == pytest.approx(load.requests / load.seconds)
    assert load.memory_mib > 10


def test_refusals_are_counted_and_told(server: ServerProcess, flight: dict[str, Any]) -> None:
    with pytest.raises(Unavailable, match=r"None of [1-9]"):
        measure(server.url, PREDICT, b"[]", rows=1, clients=2, seconds=0.2, pid=server.pid)
    with pytest.raises(Unavailable, match="No connection"):
        measure("http://127.0.0.1:1", PREDICT, b"[]", rows=1, clients=1, seconds=0.2, pid=server.pid)


def test_bench_prints_a_line_for_each_load_and_writes_a_page(
    bundles: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    page = tmp_path / "bench.html"
    words = ["--clients", "1,3", "--rows", "1,5", "--seconds", "0.2"]
    assert main(["bench", str(bundles[1]), *words, "--json", "--report", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["rows"], each["clients"]) for each in found] == [(1, 1), (1, 3), (5, 1), (5, 3)]
    assert all(each["requests"] > 0 and each["failed"] == 0 for each in found)
    assert page.read_text().count('<td class="bar">') == 4
    assert main(["bench", str(bundles[1]), "--clients", "1", "--seconds", "0.2"]) == 0
    assert "requests/s" in capsys.readouterr().out
    assert not (tmp_path / "home" / "journals").exists()


@pytest.mark.parametrize("clients", ["0", "many", "1,,2", "99999"])
def test_a_list_that_is_none_is_refused(clients: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "m", "--clients", clients]) == 2
    assert "--clients" in capsys.readouterr().err
