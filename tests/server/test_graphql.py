"""GraphQL over HTTP, as MLflow's pages ask it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import Invalid
from mainspring.server.mlflow.graphql_types import ROOTS, TYPES
from mainspring.server.mlflow.graphql_words import Field, read_operation

#: What runs are made with, shown by a fragment.
INFO = "fragment Info on MlflowRunInfo { runId status startTime endTime }"


@pytest.fixture
def ask(server):
    def ask(query: str, **variables: object):
        answer = server.ask("POST", "/graphql", {"query": query, "variables": variables})
        assert answer.status == 200
        return answer.json["data"], answer.json["errors"]

    return ask


@pytest.fixture
def run(server):
    """A run of an experiment of its own, with a metric, a file, a dataset and a registered model."""
    experiment = server.post("experiments/create", name="flights").json["experiment_id"]
    made = server.post("runs/create", experiment_id=experiment, run_name="first", start_time=1_600_000_000_000)
    run_id = made.json["run"]["info"]["run_id"]
    for step in range(3):
        server.post("runs/log-metric", run_id=run_id, key="loss", value=step / 2, timestamp=10 + step, step=step)
    server.post("runs/log-metric", run_id=run_id, key="odd", value="NaN", timestamp=1)
    dataset = {"name": "table", "digest": "1a", "source_type": "local", "source": "{}"}
    server.post("runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset}])
    upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run_id}&path=notes/a.txt"
    assert server.ask("POST", upload, raw=b"hello").status == 200
    server.post("registered-models/create", name="late")
    server.post("model-versions/create", name="late", source=f"runs:/{run_id}/model", run_id=run_id)
    return run_id


def test_a_run_is_told_with_its_experiment_and_its_versions(ask, run):
    data, errors = ask(
        'query Page @component(name: "Runs") { mlflowGetRun(input: {runId: $run}) { apiError { code } run {'
        " info { runName startTime endTime status } data { metrics { key value step } tags { key } }"
        " inputs { datasetInputs { dataset { name digest profile } } } experiment { name } modelVersions { name version"
        " status } __typename } } }",
        run=run,
    )
    assert errors is None
    found = data["mlflowGetRun"]
    assert found["apiError"] is None
    assert found["run"]["info"] == {
        "runName": "first",
        "startTime": "1600000000000",
        "endTime": "0",
        "status": "RUNNING",
    }
    assert found["run"]["data"]["metrics"] == [
        {"key": "loss", "value": 1.0, "step": "2"},
        {"key": "odd", "value": None, "step": "0"},
    ]
    assert found["run"]["inputs"]["datasetInputs"] == [{"dataset": {"name": "table", "digest": "1a", "profile": ""}}]
    assert found["run"]["experiment"] == {"name": "flights"}
    assert found["run"]["modelVersions"] == [{"name": "late", "version": "1", "status": "READY"}]
    assert found["run"]["__typename"] == "MlflowRunExtension"


def test_runs_are_searched_by_a_query_and_by_a_mutation_with_variables(ask, run):
    words = "($experiments: [String], $most: Int = 5) { mlflowSearchRuns(input: {experimentIds: $experiments,"
    words += " maxResults: $most, runViewType: ALL, filter: $none}) { runs { info { ...Info } } nextPageToken } }"
    for kind in ("query", "mutation"):
        data, errors = ask(f"{kind} Search{words} {INFO}", experiments=["1"])
        assert errors is None
        assert [each["info"]["runId"] for each in data["mlflowSearchRuns"]["runs"]] == [run]
        assert data["mlflowSearchRuns"]["nextPageToken"] == ""


def test_files_histories_datasets_and_versions_are_told(ask, run):
    data, errors = ask(
        "{ top: mlflowListArtifacts(input: {runId: $run}) { ...Files }"
        ' sub: mlflowListArtifacts(input: {runUuid: $run, path: "notes"}) { ...Files }'
        ' mlflowGetMetricHistoryBulkInterval(input: {runIds: [$run], metricKey: "loss", startStep: 1, endStep: 2})'
        " { metrics { step value timestamp } }"
        " mlflowSearchModelVersions(input: {maxResults: 5}) { modelVersions { name aliases } } }"
        " fragment Files on MlflowListArtifactsResponse { files { path isDir fileSize } }",
        run=run,
    )
    assert errors is None
    assert data["top"]["files"] == [{"path": "notes", "isDir": True, "fileSize": "0"}]
    assert data["sub"]["files"] == [{"path": "notes/a.txt", "isDir": False, "fileSize": "5"}]
    assert data["mlflowGetMetricHistoryBulkInterval"]["metrics"] == [
        {"step": "1", "value": 0.5, "timestamp": "11"},
        {"step": "2", "value": 1.0, "timestamp": "12"},
    ]
    assert data["mlflowSearchModelVersions"]["modelVersions"] == [{"name": "late", "aliases": []}]
    data, errors = ask(
        'mutation { mlflowSearchDatasets(input: {experimentIds: ["1"]}) { datasetSummaries { name context } } }'
    )
    assert (data["mlflowSearchDatasets"]["datasetSummaries"], errors) == ([{"name": "table", "context": ""}], None)


def test_an_error_of_one_field_leaves_the_others(ask, run):
    data, errors = ask(
        '{ mlflowGetExperiment(input: {experimentId: "77"}) { experiment { name } } test(inputString: "a") { output } }'
    )
    assert data == {"mlflowGetExperiment": None, "test": {"output": "a"}}
    assert errors == ["No Experiment with id=77 exists"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("{ mlflowGetRun", "Syntax Error"),
        ("{ a \\ b }", "Unexpected character"),
        ("subscription { x }", "Unexpected Name"),
        ("{ unknown { a } }", "Cannot query field 'unknown' on type 'Query'"),
        ("mutation { mlflowGetRun { run { info { runId } } } }", "on type 'Mutation'"),
        ("{ mlflowGetRun(input: {runId: 1}) { run { nope } } }", "Cannot query field 'nope'"),
        ("{ mlflowGetRun(input: {runid: 1}) { run { info { runId } } } }", "'runid' is not defined"),
        ("{ mlflowGetRun(input: 5) { run { info { runId } } } }", "is an object"),
        ("{ mlflowGetRun { run } }", "must have a selection"),
        ("{ mlflowGetRun { run { info { runId { a } } } } }", "must not have a selection"),
        ("{ mlflowGetRun { ...F } } fragment F on MlflowRunInfo { runId }", "cannot be spread"),
        ("{ ...F } fragment F on Query { ...F }", "within itself"),
        ("{ ...F }", "Unknown fragment 'F'"),
        ("query A { test { output } } query B { test { output } }", "Must provide operation name"),
        ("{ a: test(inputString: 1) { output } a: test(inputString: 2) { output } }", "conflict"),
        ("{" + "a{" * 12 + "b" + "}" * 13, "maximum depth of 10"),
        ("{" * 5_000, "Syntax Error"),
        ("{ a(b: " + "[" * 5_000 + ") }", "maximum depth of 10"),
        ("{" + " ".join(f"a{n}: test {{ output }}" for n in range(11)) + "}", "at most 10 root fields"),
        ("{ test {" + " ".join(f"a{n}: output" for n in range(11)) + "} }", "at most 10 aliases"),
        ("{ test(inputString: " + "9" * 5_000 + ") { output } }", "no number"),
        ("{ test { output } }" + " " * 60_000, "more than 50000 characters"),
        (
            "{ ...F0 } "
            + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(9))
            + " fragment F9 on Query { ...F10 ...F10 } fragment F10 on Query { ...F11 ...F11 }",
            "maximum",
        ),
        (
            "{ ...F0 } " + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(500)),
            "maximum depth of 10",
        ),
        ("{ test {" + " ".join(["output"] * 1001) + "} }", "maximum total selections of 1000"),
    ],
)
def test_a_request_that_is_wrong_is_told_what_is(ask, query, told):
    data, errors = ask(query)
    assert data is None
    assert told in errors[0]


def test_a_selection_is_read_with_its_fragments_directives_and_text():
    query = """
        query Two($yes: Boolean = true) {  # a comment
          one: field(text: "a\\"\\u00e9", block: \"\"\" b "c" \"\"\", list: [1, -2.5e1, true, null, WORD])
            @skip(if: false)
          gone @include(if: false) { x }
          ... on Query @include(if: $yes) { more }
        }
    """
    operation = read_operation(query, {}, "Two")
    assert operation.kind == "query"
    assert operation.fields == (
        Field("one", "field", {"text": 'a"é', "block": 'b "c"', "list": [1, -25.0, True, None, "WORD"]}, ()),
        Field("more", "more", {}, (), "Query"),
    )
    with pytest.raises(Invalid, match="Unknown operation named"):
        read_operation(query, {}, "Three")


def test_every_type_that_is_named_is_there():
    named = {kind.strip("[]") for fields in TYPES.values() for kind in fields.values()}
    assert named <= TYPES.keys() | {"String", "Long", "Float", "Boolean"}
    assert {each.type for each in ROOTS.values()} <= TYPES.keys()


PIECES = ("{", "}", "(", ")", "[", "]", ":", "$", "@", "!", "=", "...", "on", "query", "fragment", "a", '"', '"x"', "1")
PIECES = (
    *PIECES,
    "-",
    "1.5e3",
    '"""',
    "true",
    "null",
    "#",
    "\n",
    "\ufeff",
    "\ud83d",
    "é",
    "mlflowGetRun",
    "input",
    "...F",
)


@given(st.lists(st.sampled_from(PIECES), max_size=40), st.dictionaries(st.sampled_from("ab"), st.integers()))
def test_any_text_is_an_operation_or_told_to_be_none(pieces, variables):
    try:
        operation = read_operation(" ".join(pieces), variables, None)
    except Invalid:
        return
    assert operation.fields or "@" in pieces
