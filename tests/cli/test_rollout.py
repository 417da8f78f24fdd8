"""`mainspring rollout`: an A/B test by hand, from the first share to the read-out and the end."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run, serving

from mainspring.serve.client import PredictionClient


def _second_version(project: Path, run: Run) -> str:
    """Train once more on fewer rows; the gates may refuse it, which is not what is tested here."""
    lines = (project / "customers.csv").read_text().splitlines()
    (project / "customers.csv").write_text("\n".join([*lines[:900], ""]))
    run("run", "loop.py")
    run("rollout", "stop", "churn")  # the canary that the loop began, if it did
    found = json.loads(run("models", "churn", "--json").out)
    assert {each["version"] for each in found} == {1, 2}
    (champion,) = [each["version"] for each in found if "champion" in each["aliases"]]
    return f"churn/{3 - champion}"


def _ask(client: PredictionClient, count: int) -> dict[int, list[tuple[str, float]]]:
    answered: dict[int, list[tuple[str, float]]] = {}
    for number in range(count):
        row = {"age": 20 + number % 60, "plan": "basic", "spend": float(number % 50)}
        answer = client.predict("churn", [row], route_key=f"visitor-{number}")
        answered.setdefault(answer.version, []).append((answer.predictions[0].id, answer.predictions[0].score))
    return answered


@pytest.fixture
def other(project: Path, run: Run) -> str:
    return _second_version(project, run)


def test_an_ab_test_from_its_first_share_to_its_end(project: Path, run: Run, other: str) -> None:
    number = int(other.partition("/")[2])
    done = run("rollout", "start", other, "--percent", "50", "--override", "--reason", "A/B test")
    assert done.code == 0, done.err
    with serving("serve", "churn", ready=project / "ready.json") as client:
        answered = _ask(client, 200)
        assert sorted(answered) == [1, 2]
        assert 60 < len(answered[number]) < 140
        for version, given in answered.items():  # whom the other version answered, stayed
            client.feedback("churn", [(identifier, "0" if version == number else "1") for identifier, _ in given])
    shown = json.loads(run("rollout", "show", "churn", "--since", "1h", "--json").out)
    arms = {each["version"]: each for each in shown["arms"]}
    assert {version: arm["labelled"] for version, arm in arms.items()} == {v: len(g) for v, g in answered.items()}
    assert arms[number]["outcome"]["mean"] == 0.0
    (outcome,) = [each for each in shown["differences"] if each["measure"] == "outcome"]
    assert (outcome["version"], outcome["verdict"]) == (number, "lower")
    assert "outcome lower" in run("rollout", "show", "churn", "--since", "1h").out
    listed = json.loads(run("rollout", "list", "churn", "--json").out)
    assert next((each["version"], each["status"], each["percent"]) for each in listed) == (number, "canary", 50.0)
    assert run("rollout", "set", "churn", "--percent", "5").code == 0
    assert "5 %" in run("rollout").out
    assert run("rollout", "stop", "churn").code == 0
    routes = json.loads((project / ".mainspring" / "endpoints" / "churn.json").read_text())["routes"]
    assert [route["role"] for route in routes] == ["champion"]


def test_a_shadow_answers_nobody_and_its_answers_are_read(project: Path, run: Run, other: str) -> None:
    number = int(other.partition("/")[2])
    assert run("rollout", "start", other, "--percent", "100", "--shadow").code == 0
    with serving("serve", "churn", ready=project / "ready.json") as client:
        answered = _ask(client, 60)
        assert number not in answered
        ((_, given),) = answered.items()
        client.feedback("churn", [(identifier, "1") for identifier, _ in given])
    shown = json.loads(run("rollout", "show", "churn", "--since", "1h", "--json").out)
    assert {each["route"]: each["labelled"] for each in shown["arms"]} == {"champion": 60, "shadow": 60}
    assert [each["measure"] for each in shown["differences"]] == ["loss"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "churn/1", "--percent", "10"), "is champion already"),
        (("start", "churn/9", "--percent", "10"), "has no version 9"),
        (("start", "churn/1", "--percent", "10", "--override"), "An override needs a reason"),
        (("set", "churn", "--percent", "10"), "No canary of `churn` is under way"),
        (("stop", "churn"), "No canary or shadow of `churn` is under way"),
        (("show", "chrun"), "churn"),
    ],
)
def test_what_cannot_be_is_told(project: Path, run: Run, words: tuple[str, ...], said: str) -> None:
    done = run("rollout", *words)
    assert done.code != 0
    assert said in done.err
