"""Searching experiments: filters, orders, view types, paging."""

import time

from mlflow import MlflowClient
from mlflow.entities import ViewType

CLAUSES = [
    "name = 'find a'",
    "attribute.name = 'find a'",
    "attributes.name != 'find a' AND name LIKE 'find%'",
    "name LIKE 'find%'",
    "name LIKE 'FIND%'",
    "name ILIKE 'FIND%'",
    "name ILIKE '%A' AND tags.key = 'value'",
    "tags.key = 'value'",
    "tag.key != 'value'",
    "tags.key ILIKE '%alu%'",
    "tags.key LIKE '%alu%'",
    "tags.`my key` = 'x'",
    "tags.absent = 'x'",
    "tags.key IN ('value')",
    "tags.key IS NULL",
    "name IN ('find a', 'find b')",
    "creation_time > 0 AND name LIKE 'find%'",
    "creation_time < 0",
    "last_update_time >= 0 AND name LIKE 'find%'",
    "attribute.creation_time = 'x'",
    "experiment_id = '1'",
    "lifecycle_stage = 'active'",
    "nope = 'x'",
    "name > 'a'",
    "name = find",
    "name = 'x' OR name = 'y'",
    "name == 'x'",
    "params.x = 'y'",
    "name",
    "name = 'find a' AND",
]


def run(note, server):
    client = MlflowClient()
    tags = [{"key": "value"}, {"key": "vaLue", "my key": "x"}, None, {"key": ""}]
    ids = []
    for name, tag in zip(["find a", "find b", "Find C", "find d"], tags, strict=True):
        time.sleep(0.005)
        ids.append(client.create_experiment(name, tags=tag))
    time.sleep(0.005)
    client.delete_experiment(ids[3])

    def named(label, **options):
        note.attempt(
            label, lambda: [e.name for e in client.search_experiments(**options) if e.name.lower().startswith("find")]
        )

    for clause in CLAUSES:
        named(clause, filter_string=clause)
    for order in (
        ["name"],
        ["name DESC"],
        ["attribute.name ASC"],
        ["creation_time"],
        ["creation_time DESC"],
        ["last_update_time DESC"],
        ["experiment_id"],
        ["attributes.experiment_id DESC"],
        ["tags.key"],
        ["nope"],
        ["name SIDEWAYS"],
        ["name", "creation_time DESC"],
        ["lifecycle_stage"],
    ):
        named(f"order {order}", order_by=order)
    for view in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY, ViewType.ALL):
        named(f"view {view}", view_type=view, order_by=["name"])
    for most in (0, -1, 1, 50000, 50001):
        named(f"most {most}", max_results=most, filter_string="name ILIKE 'find%'")
    named("bad token", page_token="nope")
    token, pages = None, []
    for _ in range(9):
        page = client.search_experiments(max_results=2, page_token=token, filter_string="name ILIKE 'find%'")
        pages.append([each.name for each in page])
        token = page.token
        if not token:
            break
    note("pages", pages)
    note("whole", client.get_experiment_by_name("find b"))
