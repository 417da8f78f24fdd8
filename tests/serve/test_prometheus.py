"""The shipped alert rules: proven by promtool, and lived through by a real Prometheus and Alertmanager."""

import contextlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.server.conftest import Receiver, Server, running

from mainspring.cli.main import main
from mainspring.serve.client import PredictionClient
from mainspring.serve.routes import Route, RouteTable, write_routes

from .conftest import Site, wait_for

_ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
_PROMETHEUS, _PROMTOOL, _AMTOOL = map(shutil.which, ("prometheus", "promtool", "amtool"))
needs_programs = pytest.mark.skipif(
    not (_ALERTMANAGER and _PROMETHEUS and _PROMTOOL and _AMTOOL),
    reason="no Prometheus here: apt-get install prometheus prometheus-alertmanager",
)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The folder that the command writes."""
    assert main(["prometheus", str(tmp_path / "monitoring")]) == 0
    return tmp_path / "monitoring"


@needs_programs
def test_the_rules_and_examples_pass_their_own_programs(rules: Path) -> None:
    assert _PROMTOOL is not None
    assert _AMTOOL is not None
    for words in (
        [_PROMTOOL, "check", "config", "prometheus.yml"],
        [_PROMTOOL, "test", "rules", "rules_test.yml", "usual_test.yml"],
        [_AMTOOL, "check-config", "alertmanager.yml"],
    ):
        done = subprocess.run(words, cwd=rules, capture_output=True, text=True, timeout=150, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def expressions(rules: Path) -> list[str]:
    """What the panels of the dashboard ask, for one model and as Grafana fills it in."""
    panels = json.loads((rules / "dashboard.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    return [each.replace("$model", "late-flights").replace("$__rate_interval", "1m") for each in asked]


@needs_programs
def test_every_panel_of_the_dashboard_asks_what_prometheus_understands(rules: Path) -> None:
    assert _PROMTOOL is not None
    asked = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions(rules))]
    assert len(asked) > 15
    (rules / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": asked}]}))
    words = [_PROMTOOL, "check", "rules", "panels.yml"]
    done = subprocess.run(words, cwd=rules, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_panel_of_the_dashboard_lies_over_another(rules: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads((rules / "dashboard.json").read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_files_that_are_there_are_not_written_over(rules: Path) -> None:
    (rules / "rules.yml").write_text("mine")
    assert main(["prometheus", str(rules)]) == 1
    assert (rules / "rules.yml").read_text() == "mine"


def test_every_metric_of_the_rules_is_one_the_server_has(rules: Path, server, client) -> None:
    told = client.send("GET", "/metrics", b"").decode()
    known = set(re.findall(r"^# TYPE (\w+)", told, re.MULTILINE)) | {"up"}
    metric = r"\b(up|(?:model|prediction|recheck|shadow|server)_\w+?)(?:_bucket|_sum|_count)?(?=[{\[]| ==)"
    asked = set(re.findall(metric, (rules / "rules.yml").read_text()))
    assert len(asked) == 10
    assert asked <= known
    shown = set(re.findall(metric, " ".join(expressions(rules))))
    assert len(shown) > 12
    assert shown <= known


def test_every_counter_of_the_rules_is_told_before_its_first_event_and_goes_with_its_version(
    rules: Path, site: Site
) -> None:
    counters = set(re.findall(r"\b\w+_total(?=[{\[])", (rules / "rules.yml").read_text()))
    site.route((1, "champion", 100.0), (2, "shadow", 100.0))
    with site.start() as server, PredictionClient(server.url) as client:
        told = {line for line in client.metrics().splitlines() if line.split("{")[0] in counters}
        assert told == {
            'model_requests_total{model="late-flights",version="1",route="champion",status="200"} 0',
            'model_requests_total{model="late-flights",version="2",route="shadow",status="200"} 0',
            'model_rows_total{model="late-flights",version="1",route="champion"} 0',
            'model_rows_total{model="late-flights",version="2",route="shadow"} 0',
            'prediction_log_dropped_total{model="late-flights"} 0',
            'recheck_flips_total{model="late-flights",version="1"} 0',
            'recheck_flips_total{model="late-flights",version="2"} 0',
        }
        by_schema = {"model_rule_breaks_total", "model_rows_refused_total"}  # these bundles have no row rules
        assert counters == {line.split("{")[0] for line in told} | by_schema
        site.route((1, "champion", 100.0))
        wait_for(lambda: 'version="2"' not in client.metrics())


@needs_programs
def test_a_fault_of_the_prediction_server_becomes_an_incident_and_closes_when_mended(
    rules: Path, site: Site, tmp_path: Path
) -> None:
    receiver = Receiver()
    site.route((1, "champion", 100.0))
    control = Server(tmp_path / "home", MAINSPRING_WEBHOOKS_PRIVATE="on")
    with contextlib.ExitStack() as stack:
        stack.callback(receiver.close)
        stack.callback(control.stop)
        hook = {"name": "hook", "url": receiver.url, "events": ["incident.opened", "incident.resolved"]}
        assert control.ask("POST", "/api/mainspring/v1/webhooks", hook).status == 200
        predictor = stack.enter_context(site.start())
        change(rules / "alertmanager.yml", ("http://127.0.0.1:5000", control.url), ("30s", "0s"), ("5m", "1s"))
        address = stack.enter_context(
            running(
                _ALERTMANAGER,
                f"--config.file={rules / 'alertmanager.yml'}",
                f"--storage.path={tmp_path / 'alertmanager'}",
                "--web.listen-address=127.0.0.1:0",
                "--cluster.listen-address=",
            )
        )
        change(rules / "rules.yml", ("for: 5m", "for: 0s"))
        change(
            rules / "prometheus.yml",
            ("15s", "1s"),
            ("127.0.0.1:9093", address),
            ("127.0.0.1:8000", predictor.url.removeprefix("http://")),
        )
        stack.enter_context(
            running(
                _PROMETHEUS,
                f"--config.file={rules / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                "--web.listen-address=127.0.0.1:0",
            )
        )
        lost = RouteTable("late-flights", 50, (Route(2, str(tmp_path / "lost"), "champion", 100.0),))
        write_routes(site.endpoints / "late-flights.json", lost)
        receiver.wait_for(lambda got: len(got) == 1)
        (incident,) = control.ask("GET", "/api/mainspring/v1/incidents").json["incidents"]
        assert incident["rule"].startswith("ModelReloadFailing@")
        assert (incident["model"], incident["severity"], incident["status"]) == ("late-flights", "ticket", "triggered")
        assert incident["title"] == "late-flights cannot follow its latest route change"
        mended = RouteTable("late-flights", 51, (Route(2, str(site.bundles[2]), "champion", 100.0),))
        write_routes(site.endpoints / "late-flights.json", mended)
        receiver.wait_for(lambda got: len(got) == 2)
        assert [json.loads(body)["action"] for _, body in receiver.got] == ["opened", "resolved"]


def change(path: Path, *pairs: tuple[str, str]) -> None:
    """Fit a shipped file to this test: its addresses, and waits that are short."""
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
