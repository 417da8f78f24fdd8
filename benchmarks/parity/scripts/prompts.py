"""Prompts of 3.x, which are registered models with their text in tags."""

import requests

CLIENTS = (3,)
API = "/api/2.0/mlflow"


def run(note, server):
    from mlflow import MlflowClient, genai

    client = MlflowClient(server)
    made = note.attempt("register", _told, genai.register_prompt, name="greet", template="Hi {{name}}", tags={"a": "b"})
    note("again", _told(genai.register_prompt, name="greet", template="Hello {{name}}", commit_message="kinder"))
    note("load", _told(genai.load_prompt, "prompts:/greet/1"))
    note("latest", _told(genai.load_prompt, "prompts:/greet@latest"))
    note.attempt("none", genai.load_prompt, "prompts:/greet/9", allow_missing=False)
    genai.set_prompt_alias("greet", alias="live", version=2)
    note("alias", _told(genai.load_prompt, "prompts:/greet@live"))
    genai.delete_prompt_alias("greet", alias="live")
    note("search", [each.name for each in genai.search_prompts()])
    note("search by name", [each.name for each in genai.search_prompts("name='greet'")])
    client.set_prompt_tag("greet", "team", "red")
    note("tags", client.get_prompt("greet").tags)
    note("not among models", [each.name for each in client.search_registered_models()])
    note("nor versions", [each.name for each in client.search_model_versions()])
    note.attempt("as a model", client.create_registered_model, "greet")
    note.attempt("as a source", client.create_model_version, "greet", "models:/greet/1")
    tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    for source in ("dummy-source", "prompt-template", "s3://b/x", "runs:/x/y", "/etc/passwd"):
        body = {"name": "greet", "source": source, "tags": tags}
        answer = requests.post(f"{server}{API}/model-versions/create", json=body, timeout=30)
        note(f"source {source}", [answer.status_code, answer.json().get("error_code"), answer.json().get("message")])
    note("made", bool(made))


def _told(call, *words, **named):
    found = call(*words, **named)
    return {"name": found.name, "version": found.version, "template": found.template, "tags": found.tags}
