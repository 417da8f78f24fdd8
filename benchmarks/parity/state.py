"""Read everything a server holds, through its REST surface, as one tree to compare.

Experiments with their runs, histories and files; logged models; registered models with their versions. What one
server orders as it likes is sorted by the comparison, not here.
"""

import hashlib
import json
import re
import urllib.error
import urllib.parse
import urllib.request

#: Files whose bytes hold ids, times or drawings: their text, made free of ids, is compared, or only their names.
TEXTS = (".yaml", ".yml", ".txt", ".json", "MLmodel")
NAMES_ONLY = (".png", ".html", ".pkl", ".skops", "cv_results.csv")
#: Metrics that measure the machine or the clock.
MEASURED = re.compile(r"system/|(mean|std)_(fit|score)_time")


class Server:
    """The few calls a reader needs."""

    def __init__(self, url):
        self.url = url

    def call(self, method, path, body=None, query=None):
        """Return the answer's JSON; an error's code becomes the answer."""
        try:
            return json.loads(self.raw(method, path, body, query) or "{}")
        except urllib.error.HTTPError as error:
            return {"error": error.code}

    def raw(self, method, path, body=None, query=None):
        """Return the answer's bytes."""
        url = self.url + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def pages(self, method, path, key, options):
        """Return the list under `key` of every page."""
        found, token = [], None
        while True:
            asked = options | ({"page_token": token} if token else {})
            answer = self.call(method, path, *((asked, None) if method == "POST" else (None, asked)))
            found += answer.get(key, [])
            token = answer.get("next_page_token")
            if not token:
                return found

    def files(self, uri):
        """Return {path: what is compared of it} of everything below a `mlflow-artifacts:` address."""
        if not uri.startswith("mlflow-artifacts:"):
            return {"at": uri}
        start, found, folders = urllib.parse.urlsplit(uri).path.strip("/"), {}, [""]
        while folders:
            folder = folders.pop()
            path = f"{start}/{folder}".rstrip("/")
            listed = self.call("GET", "/api/2.0/mlflow-artifacts/artifacts", query={"path": path})
            for each in listed.get("files", []):
                name = f"{folder}/{each['path']}".lstrip("/")
                if each.get("is_dir"):
                    folders.append(name)
                    continue
                place = urllib.parse.quote(f"{start}/{name}")
                content = self.raw("GET", f"/api/2.0/mlflow-artifacts/artifacts/{place}")
                if int(each.get("file_size", 0)) != len(content):
                    found[name] = f"listed as {each.get('file_size')} bytes, is {len(content)}"
                elif name.endswith(NAMES_ONLY):
                    found[name] = "there"
                elif name.endswith(TEXTS):
                    found[name] = content.decode("utf-8", "replace")
                else:
                    found[name] = hashlib.sha256(content).hexdigest()
        return found


def read(url, major):
    """Return everything the server at `url` holds."""
    server, held = Server(url), {"experiments": []}
    api = "/api/2.0/mlflow"
    for experiment in server.pages(
        "POST", f"{api}/experiments/search", "experiments", {"max_results": 1000, "view_type": "ALL"}
    ):
        number = experiment["experiment_id"]
        wanted = {"experiment_ids": [number], "max_results": 1000, "run_view_type": "ALL"}
        runs = server.pages("POST", f"{api}/runs/search", "runs", wanted)
        for run in runs:
            run_id, keys = run["info"]["run_id"], [each["key"] for each in run.get("data", {}).get("metrics", [])]
            run["history"] = {key: _history(server, run_id, key) for key in keys if not MEASURED.match(key)}
            _drop_measured(run)
            run["files"] = server.files(run["info"]["artifact_uri"])
        models = []
        if major >= 3:
            wanted = {"experiment_ids": [number], "max_results": 50}
            models = server.pages("POST", f"{api}/logged-models/search", "models", wanted)
            for model in models:
                _drop_measured(model)
                model["files"] = server.files(model["info"]["artifact_uri"])
        held["experiments"].append({"experiment": experiment, "runs": runs, "models": models})
    held["registered"] = server.pages(
        "GET", f"{api}/registered-models/search", "registered_models", {"max_results": 100}
    )
    held["versions"] = server.pages("GET", f"{api}/model-versions/search", "model_versions", {"max_results": 100})
    return held


def _history(server, run_id, key):
    return server.call("GET", "/api/2.0/mlflow/metrics/get-history", query={"run_id": run_id, "metric_key": key})


def _drop_measured(owner):
    data = owner.get("data", {})
    data["metrics"] = [each for each in data.get("metrics", []) if not MEASURED.match(each["key"])]
