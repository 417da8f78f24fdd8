"""Registered models and their versions: create, describe, tag, rename, search, delete, and every refusal."""

from mlflow import MlflowClient

MODEL_CLAUSES = [
    "name = 'admin 1'",
    "name LIKE 'admin%'",
    "name ILIKE 'ADMIN%'",
    "name LIKE '%MIN%'",
    "name != 'admin 1'",
    "tags.team = 'red'",
    "tags.team != 'red'",
    "tags.team LIKE 'r%'",
    "tag.team = 'red'",
    "tags.`team` = 'red' AND name = 'admin 1'",
    "name IN ('admin 1')",
    "name > 'a'",
    "version = 1",
    "nope = 'x'",
    "name = admin",
    "name = 'a' OR name = 'b'",
    "params.x = '1'",
    "run_id = 'x'",
    "",
]
VERSION_CLAUSES = [
    "name = 'admin 1'",
    "name LIKE 'admin%'",
    "name ILIKE 'ADMIN%'",
    "run_id = 'run_1'",
    "run_id IN ('run_1', 'run_2')",
    "run_id IN ('run_2')",
    "run_id IN ()",
    "run_id != 'run_1'",
    "run_id LIKE 'run%'",
    "source_path = 'runs:/run_1/model'",
    "source_path LIKE 'runs:%'",
    "source = 'x'",
    "version_number = 1",
    "version_number > 1",
    "version_number >= 1 AND name = 'admin 1'",
    "version_number = '1'",
    "version = 1",
    "tags.k = 'v'",
    "tags.k != 'v'",
    "tags.`k` LIKE 'v%'",
    "current_stage = 'None'",
    "creation_timestamp > 0",
    "last_updated_timestamp > 0",
    "aliases = 'x'",
    "name = 'admin 1' AND version_number = 2",
    "name IN ('admin 1')",
    "nope = 'x'",
    "name = x",
    "",
]


def run(note, server):
    client = MlflowClient()
    note("made", client.create_registered_model("admin 1", {"team": "red", "n": 5}, "about it"))
    note("bare", client.create_registered_model("admin 2"))
    note.attempt("again", client.create_registered_model, "admin 1")
    for name in ("", "a/b", "a:b", "a.b", ".", "..", "a%b", "ä", "a" * 256, "a" * 300, "a@b", " a "):
        shown = name if len(name) < 20 else f"{len(name)} long"
        note.attempt(f"name {shown!r}", client.create_registered_model, name)
        note.attempt(f"get {shown!r}", client.get_registered_model, name)
    note.attempt("unknown", client.get_registered_model, "nowhere")
    note("described", client.update_registered_model("admin 1", "described anew"))
    note.attempt("describe unknown", client.update_registered_model, "nowhere", "x")
    client.set_registered_model_tag("admin 1", "blank", "")
    client.set_registered_model_tag("admin 1", "number", 12345)
    client.delete_registered_model_tag("admin 1", "n")
    note.attempt("delete tag again", client.delete_registered_model_tag, "admin 1", "n")
    note.attempt("tag unknown", client.set_registered_model_tag, "nowhere", "a", "b")
    note.attempt("delete tag of unknown", client.delete_registered_model_tag, "nowhere", "a")
    note.attempt("long key", client.set_registered_model_tag, "admin 1", "k" * 251, "v")
    note.attempt("long value", client.set_registered_model_tag, "admin 1", "lv", "v" * 100001)
    note.attempt("bad key", client.set_registered_model_tag, "admin 1", "a$", "v")
    note("tags", client.get_registered_model("admin 1").tags)
    note("v1", client.create_model_version("admin 1", "runs:/run_1/model", "run_1", {"k": "v", "n": 1}, None, "one"))
    note("v2", client.create_model_version("admin 1", "runs:/run_2/model", "run_2"))
    note.attempt("no run", client.create_model_version, "admin 1", "mlflow-artifacts:/models/x")
    note("v3", client.create_model_version("admin 1", "s3://bucket/models/x", run_link="https://example.com/r"))
    note("other", client.create_model_version("admin 2", "runs:/run_1/other", "run_1"))
    note.attempt("version of unknown", client.create_model_version, "nowhere", "runs:/run_1/model")
    note.attempt("no source", client.create_model_version, "admin 1", "")
    note("model", client.get_registered_model("admin 1"))
    note("version", client.get_model_version("admin 1", "1"))
    for version in ("9", "0", "-1", "1.5", "x", "", "99999999999999999999"):
        note.attempt(f"version {version!r}", client.get_model_version, "admin 1", version)
        note.attempt(f"uri {version!r}", client.get_model_version_download_uri, "admin 1", version)
        note.attempt(f"delete {version!r}", client.delete_model_version, "admin 2", version)
    note("describe", client.update_model_version("admin 1", "2", "second"))
    client.set_model_version_tag("admin 1", "2", "k", "w")
    client.set_model_version_tag("admin 1", "2", "blank", "")
    client.set_model_version_tag("admin 1", "2", "number", 5)
    client.delete_model_version_tag("admin 1", "2", "number")
    note.attempt("delete tag twice", client.delete_model_version_tag, "admin 1", "2", "number")
    note.attempt("tag unknown version", client.set_model_version_tag, "admin 1", "9", "k", "w")
    note.attempt("long version tag", client.set_model_version_tag, "admin 1", "2", "lv", "v" * 100001)
    note("tagged", client.get_model_version("admin 1", "2").tags)
    note("download", client.get_model_version_download_uri("admin 1", "1"))
    for alias in (
        "champion",
        "Champion",
        "a-b",
        "a_b",
        "a.b",
        "a b",
        "latest",
        "Latest",
        "v1",
        "V2",
        "1",
        "",
        "a/b",
        "a:b",
        "ä",
        "x" * 255,
        "x" * 256,
    ):
        shown = alias if len(alias) < 20 else f"{len(alias)} long"
        note.attempt(f"alias {shown!r}", client.set_registered_model_alias, "admin 1", alias, "1")
        note.attempt(f"of alias {shown!r}", lambda a=alias: client.get_model_version_by_alias("admin 1", a).version)
    client.set_registered_model_alias("admin 1", "champion", "2")
    note.attempt("alias of unknown", client.set_registered_model_alias, "nowhere", "a", "1")
    note.attempt("alias to unknown", client.set_registered_model_alias, "admin 1", "a", "9")
    note.attempt("unknown alias", client.get_model_version_by_alias, "admin 1", "nope")
    note.attempt("alias in unknown", client.get_model_version_by_alias, "nowhere", "nope")
    note("aliases", client.get_registered_model("admin 1").aliases)
    note("of versions", [client.get_model_version("admin 1", v).aliases for v in ("1", "2", "3")])
    note.attempt("drop alias", client.delete_registered_model_alias, "admin 1", "a-b")
    note.attempt("drop alias again", client.delete_registered_model_alias, "admin 1", "a-b")

    for clause in MODEL_CLAUSES:
        note.named(f"models {clause}", client.search_registered_models, clause)
    for clause in VERSION_CLAUSES:
        note.named(f"versions {clause}", client.search_model_versions, clause)
    for order in (
        ["name"],
        ["name DESC"],
        ["timestamp"],
        ["last_updated_timestamp DESC"],
        ["creation_timestamp"],
        ["nope"],
        ["name SIDEWAYS"],
        ["tags.team"],
    ):
        note.named(f"models by {order}", client.search_registered_models, "name LIKE 'admin%'", order_by=order)
    for order in (
        ["name", "version_number"],
        ["version_number DESC"],
        ["name DESC"],
        ["creation_timestamp"],
        ["last_updated_timestamp DESC"],
        ["nope"],
        ["run_id"],
        ["version"],
    ):
        note.named(f"versions by {order}", client.search_model_versions, "name LIKE 'admin%'", order_by=order)
    for most in (0, -1, 1, 1000, 1001, 200000, 200001):
        note.named(f"models at most {most}", client.search_registered_models, "name LIKE 'admin%'", max_results=most)
        note.named(f"versions at most {most}", client.search_model_versions, "name LIKE 'admin%'", max_results=most)
    note.named("models bad token", client.search_registered_models, page_token="nope")
    note.named("versions bad token", client.search_model_versions, page_token="nope")
    for each in range(7):
        client.create_registered_model(f"searched {each:02}")
        client.create_model_version(f"searched {each:02}", "runs:/run_id/model", "run_id")
    for search in (client.search_registered_models, client.search_model_versions):
        token, pages = None, []
        for _ in range(9):
            page = search("name LIKE 'searched%'", max_results=3, order_by=["name"], page_token=token)
            pages.append([each.name for each in page])
            token = page.token
            if not token:
                break
        note("pages", pages)
    note("copied", client.copy_model_version("models:/admin 1@champion", "admin copied"))
    note("copy", client.get_model_version("admin copied", 1))
    note("copy from", client.get_model_version_download_uri("admin copied", 1))
    note("renamed", client.rename_registered_model("admin 1", "admin new"))
    note.attempt("old name", client.get_registered_model, "admin 1")
    note.attempt("to taken", client.rename_registered_model, "admin new", "admin 2")
    note.attempt("to bad", client.rename_registered_model, "admin new", "a/b")
    note.attempt("to nothing", client.rename_registered_model, "admin new", "")
    note.attempt("to itself", client.rename_registered_model, "admin new", "admin new")
    note.attempt("unknown renamed", client.rename_registered_model, "nowhere", "x")
    note("its versions", [[v.name, v.version, v.aliases] for v in client.search_model_versions("name = 'admin new'")])
    note("by alias", client.get_model_version_by_alias("admin new", "champion").version)
    client.delete_model_version("admin new", "2")
    note.attempt("deleted version", client.get_model_version, "admin new", "2")
    note.attempt("deleted twice", client.delete_model_version, "admin new", "2")
    note.attempt("describe deleted", client.update_model_version, "admin new", "2", "x")
    note.attempt("alias of deleted", client.get_model_version_by_alias, "admin new", "champion")
    client.delete_model_version("admin new", "3")
    note("number goes on", client.create_model_version("admin new", "runs:/run_1/model", "run_1").version)
    client.delete_registered_model("admin new")
    note.attempt("deleted", client.get_registered_model, "admin new")
    note.attempt("deleted again", client.delete_registered_model, "admin new")
    note.attempt("its version", client.get_model_version, "admin new", "1")
    note("anew", client.create_registered_model("admin new"))
    note("starts at", client.create_model_version("admin new", "runs:/run_1/model", "run_1").version)
