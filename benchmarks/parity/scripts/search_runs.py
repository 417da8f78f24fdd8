"""The whole grammar of searching runs: filters, orders, view types, paging, and the errors of wrong ones."""

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType

CLAUSES = """
metrics.m > 2
metrics.m >= 2
metrics.m < 2
metrics.m <= 2
metrics.m = 2
metrics.m != 2
metrics.m > -1e3
metrics.m > 1.5 AND metrics.m < 4
metric.`m` > 2
metrics."m" > 2
metrics.`spaced name` > 2
metrics."a.b-c/d" >= 1
metrics.nan > 0
metrics.nan != 0
metrics.inf > 1e300
metrics.absent = 1
metrics.m > 'x'
metrics.m > '2'
metrics.m LIKE '2'
metrics.m IN (1, 2)
metrics.m IS NULL
metrics.absent IS NULL
metrics.m IS NOT NULL
params.kind = 'tree'
params.kind != 'tree'
params.kind = "tree"
params.kind LIKE 't%'
params.kind LIKE 'T%'
params.kind ILIKE 'T%'
params.kind LIKE '_ree'
params.kind LIKE '%\\_%'
params.`kind` = 'line'
param.kind = 'line'
parameters.kind = 'line'
params.kind > 'a'
params.kind = 3
params.n = '1'
params.n = 1
params.kind IN ('tree', 'line')
params.kind NOT IN ('tree')
params.kind IS NULL
params.kind IS NOT NULL
params.absent IS NULL
params.quote = "it's"
params.kind = 'x' OR params.kind = 'tree'
NOT params.kind = 'tree'
(params.kind = 'tree')
tags.team = 'red'
tag.team != 'red'
tags.team LIKE 'r%'
tags.team ILIKE 'R%'
tags.team IN ('red', 'blue')
tags.team IS NULL
tags.team IS NOT NULL
tags.absent IS NULL
tags.`mlflow.user` IS NULL
tags."mlflow.runName" = 'run 1'
tags.mlflow.runName = 'run 1'
tags.mlflow.source.name = 'x'
tags.spaced name = 'x'
attributes.status = 'FINISHED'
attributes.status = 'finished'
attributes.status != 'FINISHED'
attribute.status = 'RUNNING'
attr.status LIKE 'F%'
attr.status = 'NOPE'
status = 'FINISHED'
run_name = 'run 1'
attributes.run_name LIKE 'run%'
attributes.run_name ILIKE 'RUN%'
attributes."run name" = 'run 1'
attributes.`Run name` = 'run 1'
`run name` = 'run 1'
name = 'run 1'
attributes.artifact_uri LIKE '%artifacts%'
attributes.user_id = 'unknown'
attributes.start_time > 1001
attributes.start_time = 1001
attributes.start_time <= 1002 AND attributes.start_time != 1000
start_time >= 1003
attributes.Created > 1001
created > 1001
attributes.end_time > 5000
attributes.end_time = 5001
attributes.end_time IS NULL
attributes.start_time > 'a'
attributes.run_id IN ('x')
attributes.run_id = 'x'
attributes.run_id LIKE 'x%'
attributes.run_id NOT IN ('x')
run_id = 'x'
attributes.run_id IN ()
attributes.lifecycle_stage = 'active'
attributes.experiment_id = '1'
attributes.nope = 'x'
nope = 'x'
nope.x = 'y'
metrics.m >
metrics.m
> 2
metrics.m > 2 AND
AND metrics.m > 2
metrics.m > 2, metrics.m < 5
metrics.m == 2
metrics.m <> 2
metrics.m > 2 metrics.m < 5
metrics.m > 2; DROP TABLE runs
params.kind = 'tree
params.kind = tree
params.kind = `tree`
params. = 'x'
.kind = 'x'
metrics.m > 1 and params.kind = 'tree'
metrics.m>1 AND params.kind='tree'
  metrics.m   >   1
datasets.name = 'x'
models.name = 'x'
params.kind = ''
params.empty = ''
tags.words = 'ä 漢'
attributes.status IN ('FINISHED', 'FAILED')
attributes.run_name IN ('run 1', 'run 2')
attributes.run_name IS NOT NULL
params.kind = NULL
params.kind = 'tree' AND params.kind != 'line' AND tags.team = 'red' AND metrics.m >= 0
1 = 1
metrics.m = metrics.n
params.`a``b` = 'x'
params."a""b" = 'x'
params.kind = 'it''s'
params.kind BETWEEN 'a' AND 'z'
"""
ORDERS = [
    ["metrics.m"],
    ["metrics.m ASC"],
    ["metrics.m DESC"],
    ["metrics.m desc"],
    ["metrics.nan DESC"],
    ["metrics.nan ASC"],
    ["metrics.`spaced name` DESC"],
    ["metrics.absent DESC"],
    ["params.kind"],
    ["params.kind DESC", "metrics.m ASC"],
    ["params.n ASC"],
    ["params.absent DESC"],
    ["tags.team", "params.kind"],
    ["tags.team DESC"],
    ["tags.`mlflow.runName` DESC"],
    ["attributes.start_time ASC"],
    ["attributes.start_time DESC"],
    ["start_time"],
    ["attribute.end_time DESC"],
    ["attributes.end_time"],
    ["attributes.status"],
    ["attributes.status DESC", "attributes.run_name"],
    ["attributes.run_name DESC"],
    ["run_name"],
    ["`run name`"],
    ["attributes.Created"],
    ["attributes.user_id"],
    ["attributes.nope"],
    ["metrics.m SIDEWAYS"],
    ["metrics.m DESC NULLS LAST"],
    ["metrics.m ASC, metrics.n DESC"],
    ["metrics"],
    [""],
    ["  metrics.m   DESC  "],
    ["metrics.m", "metrics.m DESC"],
    ["dataset.name"],
    ["datasets.name DESC"],
    ["metrics.m; DROP TABLE runs"],
    ["metrics.'m'"],
    ['metrics."m" DESC'],
]


def run(note, server):
    client = MlflowClient()
    experiment = client.create_experiment("search runs")
    other = client.create_experiment("search runs elsewhere")
    kinds = ["tree", "line", "tree", None, "it_s", "Tree", "tree"]
    for each, kind in enumerate(kinds):
        where = other if each == 6 else experiment
        run_ = client.create_run(where, start_time=1000 + each, run_name=f"run {each}")
        run_id = run_.info.run_id
        params = [Param("n", str(each))] + (
            [Param("kind", kind)] if kind else [Param("quote", "it's"), Param("empty", "")]
        )
        tags = [RunTag("team", "red" if each % 2 else "blue")] if each < 5 else [RunTag("words", "ä 漢")]
        metrics = [Metric("m", each - 0.0, 1, 0)] if each != 3 else []
        metrics += [Metric("spaced name", each * 2, 1, 0), Metric("a.b-c/d", each, 1, 0)]
        metrics += (
            [Metric("nan", [float("nan"), 1.0, float("inf"), -float("inf")][each % 4], 1, 0)] if each != 4 else []
        )
        metrics += [Metric("inf", float("inf"), 1, 0)] if each == 2 else []
        client.log_batch(run_id, metrics, params, tags)
        if each % 2:
            client.set_terminated(run_id, "FINISHED" if each < 5 else "FAILED", end_time=5000 + each)
        if each == 5:
            client.delete_run(run_id)

    def named(label, *arguments, **options):
        note.named(label, client.search_runs, *arguments, **options)

    for clause in CLAUSES.strip("\n").split("\n"):
        named(clause, [experiment], clause)
    for order in ORDERS:
        named(f"order {order}", [experiment], order_by=order)
    for view in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY, ViewType.ALL):
        named(f"view {view}", [experiment], run_view_type=view)
    named("two experiments", [experiment, other])
    named("no experiment", [])
    named("unknown experiment", ["987654321"])
    named("a word as experiment", ["nope"])
    named("most 0", [experiment], max_results=0)
    named("most -1", [experiment], max_results=-1)
    named("most 50000", [experiment], max_results=50000)
    named("most 50001", [experiment], max_results=50001)
    named("bad token", [experiment], page_token="nope")
    named("bad token too", [experiment], page_token="eyJvZmZzZXQiOiAieCJ9")
    for options in (
        {},
        {"order_by": ["metrics.m DESC"]},
        {"order_by": ["params.kind", "metrics.nan"]},
        {"filter_string": "metrics.m >= 0"},
    ):
        token, pages = None, []
        while True:
            page = client.search_runs(
                [experiment, other], max_results=2, page_token=token, run_view_type=ViewType.ALL, **options
            )
            pages.append([each.info.run_name for each in page])
            token = page.token
            if not token or len(pages) > 9:
                break
        note(f"pages {options}", pages)
    first = client.search_runs([experiment], order_by=["attributes.start_time"], max_results=1)[0]
    note("one whole", first)
    named("by id", [experiment], f"attributes.run_id = '{first.info.run_id}'")
    named("by ids", [experiment], f"attributes.run_id IN ('{first.info.run_id}', 'x')")
    named("by other case", [experiment], f"attributes.run_id ILIKE '{first.info.run_id.upper()}'")
    equal = client.create_experiment("search runs at one time")
    ids = sorted(client.create_run(equal, start_time=5).info.run_id for _ in range(10))
    page = client.search_runs([equal], max_results=4)
    again = client.search_runs([equal], max_results=4, page_token=page.token)
    note("equal times go by id", [each.info.run_id for each in [*page, *again]] == ids[:8])
