"""The registry on MLflow's wire, and the rules that hold there too: approvals, protected aliases, who may what."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mainspring.access.roles import roles_of_document, set_role
from mainspring.access.users import create_user
from mainspring.domain.ids import Digest
from mainspring.domain.policy import by
from mainspring.registry.control import keep_loop_rule, protect_alias
from mainspring.registry.evidence import record_gates
from mainspring.registry.versions import artifact_roots as registry_roots
from mainspring.registry.versions import find_version, register_version, set_status
from mainspring.server.mlflow import MLFLOW_ROUTES, model_versions, registered_models
from mainspring.store.events import events, verify_chain
from mainspring.workspace import Workspace

from .conftest import Server

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def version(server: Server) -> dict[str, object]:
    """One version from outside."""
    server.post("registered-models/create", name="my model", tags=[{"key": "team", "value": "risk"}], description="d")
    made = server.post(
        "model-versions/create", name="my model", source="s3://bucket/m", tags=[{"key": "a", "value": "1"}]
    )
    return made.json["model_version"]


def test_a_model_lives_through_all_that_mlflows_clients_do(server: Server, version: dict[str, object]) -> None:
    assert (version["name"], version["version"], version["status"]) == ("my model", "1", "READY")
    named = {"name": "my model", "version": "1"}
    assert server.post("registered-models/set-tag", name="my model", key="k", value="v").json == {}
    assert server.post("registered-models/alias", alias="Prod", **named).json == {}
    assert server.post("model-versions/set-tag", key="t", value="2", **named).json == {}
    patched = server.ask("PATCH", "/api/2.0/mlflow/model-versions/update", {**named, "description": "one"}).json
    assert patched["model_version"]["description"] == "one"
    moved = server.post("model-versions/transition-stage", stage="staging", **named).json["model_version"]
    assert (moved["current_stage"], moved["aliases"]) == ("Staging", ["Prod"])
    model = server.get("registered-models/get", name="my model").json["registered_model"]
    assert model["tags"] == [{"key": "k", "value": "v"}, {"key": "team", "value": "risk"}]
    assert model["aliases"] == [{"alias": "Prod", "version": "1"}]
    assert model["latest_versions"][0]["tags"] == [{"key": "a", "value": "1"}, {"key": "t", "value": "2"}]
    assert server.get("registered-models/alias", name="my model", alias="Prod").json["model_version"]["version"] == "1"
    assert server.get("model-versions/get-download-uri", **named).json == {"artifact_uri": "s3://bucket/m"}
    for stages, found in (([], 1), (["Staging"], 1), (["Production"], 0)):
        latest = server.post("registered-models/get-latest-versions", name="my model", stages=stages).json
        assert len(latest.get("model_versions", [])) == found
    renamed = server.post("registered-models/rename", name="my model", new_name="other").json["registered_model"]
    assert renamed["aliases"] == [{"alias": "Prod", "version": "1"}]
    assert (
        server.ask("DELETE", "/api/2.0/mlflow/registered-models/alias", {"name": "other", "alias": "Prod"}).json == {}
    )
    gone = {"name": "other", "version": "1"}
    assert server.ask("DELETE", "/api/2.0/mlflow/model-versions/delete", gone).json == {}
    missing = server.get("model-versions/get", **gone)
    assert missing.json["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert missing.json["message"] == "Model Version (name=other, version=1) not found"
    assert server.post("model-versions/create", name="other", source="s3://b").json["model_version"]["version"] == "2"
    assert server.ask("DELETE", "/api/2.0/mlflow/registered-models/delete", {"name": "other"}).json == {}
    assert server.get("registered-models/search").json == {}


def test_searches_filter_order_and_page(server: Server) -> None:
    for number in range(5):
        server.post("registered-models/create", name=f"m{number}", tags=[{"key": "odd", "value": str(number % 2)}])
        for _ in range(2):
            server.post("model-versions/create", name=f"m{number}", source=f"s3://b/{number}")

    def models(filter: str = "", **more: object) -> list[str]:  # noqa: A002
        answer = server.get("registered-models/search", filter=filter, **more)
        assert answer.status == 200, answer.json
        return [each["name"] for each in answer.json.get("registered_models", [])]

    def versions(filter: str = "", **more: object) -> list[str]:  # noqa: A002
        answer = server.get("model-versions/search", filter=filter, **more)
        assert answer.status == 200, answer.json
        return [f"{each['name']}/{each['version']}" for each in answer.json.get("model_versions", [])]

    assert models() == ["m0", "m1", "m2", "m3", "m4"]
    assert models("tags.odd = '1'") == ["m1", "m3"]
    assert models("name IN ('m1', 'm4') AND tags.odd != '1'") == ["m4"]
    assert models("name LIKE 'm%' and tag.`odd` ILIKE '0'", order_by=["name DESC"]) == ["m4", "m2", "m0"]
    assert versions("name = 'm1'") == ["m1/2", "m1/1"]
    assert versions("source_path = 's3://b/2' AND version_number > 1") == ["m2/2"]
    assert versions("name = 'm2' AND version_number = '1'") == ["m2/1"]
    assert versions("version_number = 1", order_by=["name DESC"])[0] == "m4/1"
    token, pages = "", []
    while True:
        page = server.get("model-versions/search", max_results=3, order_by=["name ASC"], page_token=token).json
        pages.append([f"{each['name']}/{each['version']}" for each in page["model_versions"]])
        token = page.get("next_page_token", "")
        if not token:
            break
    assert [len(each) for each in pages] == [3, 3, 3, 1]
    assert [each for page in pages for each in page] == [f"m{n}/{v}" for n in range(5) for v in (2, 1)]


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "registered-models/create", {"name": "a/b"}, "Invalid model name 'a/b'. Names cannot contain"),
        ("POST", "registered-models/create", {}, "Missing value for required parameter 'name'"),
        ("POST", "registered-models/create", {"name": ".."}, "This name would resolve to '..'"),
        ("POST", "registered-models/alias", {"name": "my model", "alias": "latest", "version": "1"}, "is reserved"),
        ("POST", "registered-models/alias", {"name": "my model", "alias": "v1", "version": "1"}, "is reserved"),
        ("POST", "registered-models/alias", {"name": "my model", "alias": "a b", "version": "1"}, "Invalid alias name"),
        ("POST", "model-versions/set-tag", {"name": "my model", "version": "x", "key": "k"}, "must be an integer"),
        ("POST", "model-versions/set-tag", {"name": "my model", "version": "1", "key": "/"}, "Invalid value"),
        (
            "POST",
            "model-versions/transition-stage",
            {"name": "my model", "version": "1", "stage": "Live"},
            "Invalid Model Version stage: Live. Value must be one of None, Staging, Production, Archived.",
        ),
        ("POST", "model-versions/create", {"name": "my model", "source": "/etc"}, "To use a local path"),
        ("POST", "model-versions/create", {"name": "my model", "source": "file:///etc"}, "To use a local path"),
        ("POST", "model-versions/create", {"name": "my model", "source": "s3://b/../c"}, "relative path references"),
        ("POST", "model-versions/create", {"name": "my model", "source": "s3://b/%252e%252e/c"}, "relative path"),
        ("POST", "model-versions/create", {"name": "my model", "source": "runs:/other/m", "run_id": "r"}, "run_id"),
        ("POST", "model-versions/create", {"name": "my model", "source": "mlflow-artifacts:/0/x/artifacts"}, "run_id"),
        (
            "POST",
            "model-versions/create",
            {"name": "my model", "source": "http://h/api/2.0/mlflow-artifacts/artifacts/0"},
            "run_id",
        ),
        ("GET", "registered-models/search?filter=name+%3E+'a'", None, "Invalid comparator"),
        ("GET", "registered-models/search?order_by=nope", None, "Invalid order by key 'nope' specified."),
        ("GET", "model-versions/search?page_token=x", None, "Invalid page token"),
        ("GET", "registered-models/alias?name=my+model&alias=none", None, "Registered model alias none not found."),
    ],
)
def test_what_does_not_fit_is_told_in_mlflows_words(server: Server, version, method, path, body, said: str) -> None:
    refused = server.ask(method, f"/api/2.0/mlflow/{path}", body)
    assert (refused.status, refused.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), refused.json
    assert said in refused.json["message"]


def test_a_source_may_be_a_run_of_ours_or_another_version(server: Server, version) -> None:
    run = server.post("runs/create", experiment_id="0").json["run"]["info"]
    root = run["artifact_uri"]
    made = server.post("model-versions/create", name="my model", source=f"{root}/model", run_id=run["run_id"])
    assert made.json["model_version"]["version"] == "2"
    server.post("registered-models/create", name="copy")
    for source in ("models:/my model/2", "models:/my model/latest", "models:/my model/None"):
        copied = server.post("model-versions/create", name="copy", source=source).json["model_version"]
        assert (copied["source"], copied["run_id"]) == ("models:/my model/2", run["run_id"])
        where = server.get("model-versions/get-download-uri", name="copy", version=copied["version"]).json
        assert where["artifact_uri"] == f"{root}/model"
    other = server.post("model-versions/create", name="copy", source="models:/my model/2", run_id="x")
    assert "must match the referenced model version" in other.json["message"]


def test_files_that_are_kept_here_are_kept_as_they_were_until_the_version_is_deleted(server: Server, version) -> None:
    run = server.post("runs/create", experiment_id="0").json["run"]["info"]
    root = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    for name, content in (("MLmodel", b"flavors: {}"), ("data/model.txt", b"one")):
        path = f"/api/2.0/mlflow-artifacts/artifacts/{root}/model/{name}"
        assert server.ask("PUT", path, raw=content).status == 200
    source = f"runs:/{run['run_id']}/model"
    made = server.post("model-versions/create", name="my model", source=source, run_id=run["run_id"])
    path = f"/api/2.0/mlflow-artifacts/artifacts/{root}/model/data/model.txt"
    assert server.ask("PUT", path, raw=b"two").status == 200
    with Workspace(server.home) as workspace:
        kept = find_version(workspace.store, f"my model/{made.json['model_version']['version']}")
        assert kept.bundle is not None
        workspace.artifacts.checkout_tree(kept.bundle, server.home / "out")
        assert (server.home / "out" / "data" / "model.txt").read_bytes() == b"one"
        assert kept.bundle in artifact_roots(workspace.store)
    named = {"name": "my model", "version": str(kept.version)}
    files = f"/model-versions/get-artifact?name=my+model&version={kept.version}&path="
    assert server.ask("GET", f"{files}data/model.txt").body == b"one"
    assert server.ask("GET", f"{files}data").status == 404
    unsafe = server.ask("GET", f"{files}../MLmodel")
    assert (unsafe.status, unsafe.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    server.post("registered-models/alias", alias="champion", **named)
    held = server.ask("DELETE", "/api/2.0/mlflow/model-versions/delete", named)
    assert "the alias champion points at it" in held.json["message"]
    server.ask("DELETE", "/api/2.0/mlflow/registered-models/alias", {"name": "my model", "alias": "champion"})
    assert server.ask("DELETE", "/api/2.0/mlflow/model-versions/delete", named).status == 200
    with Workspace(server.home) as workspace:
        assert kept.bundle not in artifact_roots(workspace.store)


def artifact_roots(store) -> list[Digest]:
    return store.snapshot(lambda snapshot: list(registry_roots(snapshot)))


def test_a_logged_model_becomes_a_version_and_knows_it(server: Server, version) -> None:
    run = server.post("runs/create", experiment_id="0").json["run"]["info"]
    model = server.post("logged-models", experiment_id="0", name="lm", source_run_id=run["run_id"]).json["model"][
        "info"
    ]
    source = f"models:/{model['model_id']}"
    made = server.post("model-versions/create", name="my model", source=source, model_id=model["model_id"])
    assert made.json["model_version"]["run_id"] == run["run_id"]
    named = {"name": "my model", "version": made.json["model_version"]["version"]}
    assert server.get("model-versions/get-download-uri", **named).json["artifact_uri"] == model["artifact_uri"]
    (tag,) = server.get(f"logged-models/{model['model_id']}").json["model"]["info"]["tags"]
    assert tag == {"key": "mlflow.modelVersions", "value": '[{"name": "my model", "version": 2}]'}
    for wrong in ({"model_id": "m-none"}, {}, {"run_id": run["run_id"]}):
        refused = server.post("model-versions/create", name="my model", source=source, **wrong)
        assert "The model_id request parameter must identify" in refused.json["message"]


def basic(name: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{name}s password".encode()).decode()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace with people, and a model whose loop asks two reviewers."""
    with Workspace(tmp_path / "home", actor="root") as workspace:
        store = workspace.store
        people = {"ada": "data-scientist", "eve": "reviewer", "bob": "reviewer", "olga": "operator", "vic": "viewer"}
        (narrow,) = roles_of_document(
            {"risk": [{"allow": ["read", "write", "move"], "resources": "models/*", "tags": {"team": "risk"}}]}
        )
        set_role(store, narrow, actor="root", at=NOW)
        for name, role in {**people, "rita": "risk"}.items():
            create_user(store, name, roles=[role], password=f"{name}s password", actor="root", at=NOW)
        keep_loop_rule(store, "churn", by("reviewer", count=2), actor="root", at=NOW)
        made = register_version(store, "churn", bundle=Digest("a" * 64), run_id=None, evidence={}, author="ada", at=NOW)
        record_gates(store, made, [], NOW)
        set_status(store, made, "ready", reason="passed")
        protect_alias(store, "churn", "staging", roles=["operator"], actor="root", at=NOW)
    return tmp_path / "home"


@pytest.fixture
def guarded(home: Path) -> Iterator[Server]:
    started = Server(home, "--login")
    yield started
    started.stop()


def test_the_rules_of_aliases_hold_for_mlflows_clients(guarded: Server, home: Path) -> None:
    path, champion = "/api/2.0/mlflow/registered-models/alias", {"name": "churn", "alias": "champion", "version": "1"}
    assert guarded.ask("POST", path, champion, headers=basic("ada")).status == 403  # no verb for it
    waits = guarded.ask("POST", path, champion, headers=basic("eve"))
    assert (waits.status, waits.json["error_code"]) == (403, "PERMISSION_DENIED")
    assert "waits for the approval of 2 reviewer" in waits.json["message"]
    stage = {"name": "churn", "version": "1", "stage": "Production"}
    by_stage = guarded.ask("POST", "/api/2.0/mlflow/model-versions/transition-stage", stage, headers=basic("olga"))
    assert "waits for the approval of 2 reviewer" in by_stage.json["message"]
    staging = {**champion, "alias": "staging"}
    other = guarded.ask("POST", path, staging, headers=basic("eve"))
    assert "only operator may move staging" in other.json["message"]
    assert guarded.ask("POST", path, staging, headers=basic("olga")).status == 200
    with Workspace(home) as workspace:
        refused = [(event.actor, event.details["alias"]) for event in events(workspace.store, verb="alias.refused")]
        assert refused == [("eve", "champion"), ("olga", "champion"), ("eve", "staging")]
        assert [event.actor for event in events(workspace.store, verb="access.denied")] == ["ada"]
        assert [event.actor for event in events(workspace.store, verb="alias.moved")] == ["olga"]
        assert verify_chain(workspace.store) == len(events(workspace.store))


def test_every_route_of_the_registry_denies_who_may_not(guarded: Server) -> None:
    body = {
        "name": "churn", "version": "1", "alias": "a", "key": "k", "value": "v", "stage": "Staging", "new_name": "n",
        "source": "s3://b", "description": "d",
    }  # fmt: skip
    for route in (*registered_models.ROUTES, *model_versions.ROUTES):
        path = f"/api/2.0/mlflow/{route.path}"
        assert path in {each.path for each in MLFLOW_ROUTES}
        answer = (
            guarded.ask("GET", path, headers=basic("rita"), name="churn", version="1", alias="a")
            if route.method == "GET"
            else guarded.ask(route.method, path, body, headers=basic("rita"))
        )
        if "search" in route.path:
            assert answer.json == {}
        else:
            assert answer.status == 403, (route.path, answer.json)
        if not route.needs.endswith("read"):
            assert guarded.ask(route.method, path, body, headers=basic("vic")).status == 403


def test_a_role_with_a_condition_sees_and_changes_what_has_the_tag(guarded: Server) -> None:
    risk, sales = [{"key": "team", "value": "risk"}], [{"key": "team", "value": "sales"}]
    path = "/api/2.0/mlflow/registered-models"
    assert guarded.ask("POST", f"{path}/create", {"name": "r", "tags": risk}, headers=basic("rita")).status == 200
    assert guarded.ask("POST", f"{path}/create", {"name": "s", "tags": sales}, headers=basic("rita")).status == 403
    guarded.ask("POST", f"{path}/create", {"name": "s", "tags": sales}, headers=basic("ada"))
    found = guarded.ask("GET", f"{path}/search", headers=basic("rita")).json["registered_models"]
    assert [each["name"] for each in found] == ["r"]
    tag = {"name": "r", "key": "team", "value": "sales"}
    assert guarded.ask("POST", f"{path}/set-tag", tag, headers=basic("rita")).status == 403


def test_a_prompt_comes_from_nowhere_and_nowhere_else(server: Server) -> None:
    tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}, {"key": "mlflow.prompt.text", "value": "Hi {{name}}"}]
    server.post("registered-models/create", name="greet", tags=tags[:1])
    made = server.post("model-versions/create", name="greet", source="dummy-source", tags=tags)
    assert made.status == 200
    assert made.json["model_version"]["source"] == "dummy-source"
    for source in ("s3://b/x", "/etc/passwd", "models:/greet/1"):
        refused = server.post("model-versions/create", name="greet", source=source, tags=tags)
        assert (refused.status, "Invalid prompt source" in refused.json["message"]) == (400, True)
    assert "registered_models" not in server.get("registered-models/search").json
