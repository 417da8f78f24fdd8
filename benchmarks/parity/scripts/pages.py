"""What MLflow's own pages ask: GraphQL, and files by run and by version."""

import requests

FILES = "fragment Files on MlflowListArtifactsResponse { files { path isDir fileSize } }"
INFO = "info { runName status lifecycleStage endTime userId }"
QUERIES = (
    '{ test(inputString: "abc") { output } }',
    'query A { test(inputString: "a") { output } } query B { test(inputString: "b") { output } }',
    "mutation { testMutation(inputString: $word) { output __typename } __typename }",
    'query Q @component(name: "Q") { mlflowGetExperiment(input: {experimentId: $experiment}) { experiment { name'
    " lifecycleStage tags { key value } } apiError { code } } }",
    '{ mlflowGetExperiment(input: {experimentId: "99999"}) { experiment { name } } }',
    "{ mlflowGetRun(input: {runId: $run}) { run { " + INFO + " experiment { name } modelVersions { name version status"
    " aliases currentStage description runLink tags { key } } data { metrics { key value step } params { key value }"
    " tags { key } } inputs { datasetInputs { tags { key value } dataset { name digest sourceType schema profile } }"
    " modelInputs { modelId } } outputs { modelOutputs { step } } } } }",
    '{ mlflowGetRun(input: {runId: "0123456789abcdef0123456789abcdef"}) { run { info { runId } } } }',
    "{ mlflowGetRun(input: {}) { run { info { runId } } } }",
    "{ mlflowSearchRuns(input: {experimentIds: [$experiment], maxResults: 1}) { runs { " + INFO + " } } }",
    "mutation { mlflowSearchRuns(input: {experimentIds: [$experiment], runViewType: DELETED_ONLY}) { runs { " + INFO
    + " } nextPageToken } }",
    '{ mlflowSearchRuns(input: {experimentIds: [$experiment], filter: "nonsense"}) { runs { ' + INFO + " } } }",
    "{ all: mlflowListArtifacts(input: {runId: $run}) { ...Files } some: mlflowListArtifacts(input: {runId: $run,"
    ' path: "dir"}) { rootUri ...Files } } ' + FILES,
    '{ mlflowListArtifacts(input: {runId: $run, path: "../.."}) { ...Files } } ' + FILES,
    '{ mlflowGetMetricHistoryBulkInterval(input: {runIds: [$run], metricKey: "loss", maxResults: 3}) { metrics { key'
    " value timestamp step } } }",
    '{ mlflowGetMetricHistoryBulkInterval(input: {runIds: [], metricKey: "loss"}) { metrics { key } } }',
    "mutation { mlflowSearchDatasets(input: {experimentIds: [$experiment]}) { datasetSummaries { name digest context"
    " } } }",
    "{ mlflowSearchModelVersions(input: {filter: \"name = 'page model'\"}) { modelVersions { name version source } } }",
    "{ mlflowGetRun(input: {runId: $run}) { run { nothing } } }",
    "{ nothing { a } }",
    "{ mlflowGetRun(input: {runId: $run}) { run } }",
    "{" + " ".join(f"f{n}: test {{ output }}" for n in range(11)) + "}",
    "{" + " ".join("test { output }" for n in range(11)) + "}",
    "{" + "a {" * 11 + "b" + "}" * 12,
)  # fmt: skip


def run(note, server):
    from mlflow import MlflowClient

    client = MlflowClient(server)
    experiment = client.create_experiment("page", tags={"team": "red"})
    made = client.create_run(experiment, run_name="page run", tags={"mlflow.user": "ada"}).info.run_id
    for step in range(6):
        client.log_metric(made, "loss", step / 4, timestamp=100 + step, step=step)
    client.log_metric(made, "odd", float("nan"), timestamp=5)
    client.log_param(made, "depth", 3)
    client.log_text(made, "hello", "a.txt")
    client.log_text(made, "<b>x</b>", "dir/page.html")
    data = {"name": "table", "digest": "1a", "source_type": "local", "source": "{}"}
    tags = [{"key": "mlflow.data.context", "value": "training"}]
    post(server, "/api/2.0/mlflow/runs/log-inputs", {"run_id": made, "datasets": [{"dataset": data, "tags": tags}]})
    client.create_registered_model("page model")
    client.create_model_version("page model", client.get_run(made).info.artifact_uri + "/dir", made)
    for query in QUERIES:
        words = {"query": query.replace("$run", f'"{made}"').replace("$experiment", f'"{experiment}"')}
        words["query"] = words["query"].replace("$word", '"word"')
        note(query, post(server, "/graphql", words)[0])
    text = "query Q($run: String!, $more: Boolean = false) { mlflowGetRun(input: {runId: $run}) { run { info {"
    text += " runName status @skip(if: $more) userId @include(if: $more) } } } }"
    for more in (True, False):
        note(
            f"variables {more}", post(server, "/graphql", {"query": text, "variables": {"run": made, "more": more}})[0]
        )
    note("named", post(server, "/graphql", {"query": QUERIES[1], "operationName": "B"})[0])
    note("unnamed", post(server, "/graphql", {"query": QUERIES[1], "operationName": "C"})[0])
    for path in ("a.txt", "dir/page.html", "dir", "none.txt", "../a.txt", "/etc/hosts"):
        for where in (f"get-artifact?run_uuid={made}", f"get-artifact?run_id={made}"):
            note(f"{where.partition('=')[0]} {path}", got(server, f"/{where}&path={path}"))
        note(f"version {path}", got(server, f"/model-versions/get-artifact?name=page model&version=1&path={path}"))
    upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={made}"
    for path in ("up.txt", "dir/up.txt", "../up.txt", ""):
        note(f"upload {path}", posted(server, f"{upload}&path={path}", b"hello world"))
        note(f"upload nothing {path}", posted(server, f"{upload}&path={path}", b""))
    note("uploaded", got(server, f"/get-artifact?run_uuid={made}&path=up.txt"))


def post(server, path, body):
    answer = requests.post(server + path, json=body, timeout=30)
    kind = answer.headers.get("content-type", "").partition(";")[0]
    return (answer.json() if kind == "application/json" else answer.text), answer.status_code


def posted(server, path, body):
    answer = requests.post(server + path, data=body, timeout=30)
    return [answer.status_code, answer.text]


def got(server, path):
    answer = requests.get(server + path, timeout=30)
    return [answer.status_code, answer.headers.get("content-disposition"), answer.headers["content-type"], answer.text]
