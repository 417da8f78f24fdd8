"""Run the client scripts against one server, in the Python of one MLflow environment, and keep what they saw.

    python run_scripts.py SERVER_URL RESULT.json [SCRIPT ...]

Each script is a module of scripts/ with `run(note, server)`. What it notes is compared later between servers, so a
script asserts nothing: it asks, and writes down every answer, an error's code and words as well. Each runs in a
forked child, so that one script's patches (autolog) and its end never reach the next. Needs mlflow and no
Mainspring. The requests and answers of each script are kept too, for replay without an mlflow.
"""

import importlib.util
import json
import math
import multiprocessing
import os
import sys
import tempfile
import traceback
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
MOST_SECONDS = 240


class Note:
    """What a script saw, in order: pairs of a label and plain JSON data."""

    def __init__(self):
        self.lines = []

    def named(self, label, search, *arguments, **options):
        """Note the names that `search` finds, and whether there is more."""
        self.attempt(label, lambda: _names(search(*arguments, **options)))

    def __call__(self, label, value):
        self.lines.append([label, plain(value)])
        return value

    def attempt(self, label, call, *arguments, **named):
        """Note what `call` returns, or the code and the words of the error it raises; return the value or None."""
        try:
            value = call(*arguments, **named)
        except Exception as error:
            self.lines.append([label, said(error)])
            return None
        return self(label, value)


def _names(found):
    names = [
        each.info.run_name if hasattr(each, "info") else [each.name, getattr(each, "version", None)] for each in found
    ]
    return [names, bool(found.token)]


def said(error):
    """Return an error's code and words; a server's own failure in short, since the client's words name its address."""
    if "too many 5" in str(error):
        return {"error": "the server failed"}
    return {"error": getattr(error, "error_code", type(error).__name__), "message": str(error)}


def plain(value):
    """Turn `value`, often an MLflow entity, into JSON data; floats that JSON lacks become words."""
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if hasattr(value, "token") and isinstance(value, list):
        return {"items": [plain(each) for each in value], "more": bool(value.token)}
    if hasattr(value, "to_dict") and hasattr(value, "model_uuid"):
        return plain(value.to_dict())
    if type(value).__module__.startswith("mlflow.entities"):
        try:
            return {key: plain(each) for key, each in dict(value).items()}
        except TypeError:
            return {key: plain(each) for key, each in vars(value).items()} if hasattr(value, "__dict__") else str(value)
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(each) for each in value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)


def record_wire(wire):
    """Have `requests` write every exchange into `wire`."""
    import requests

    send = requests.Session.send

    def recorded(self, request, **named):
        body = request.body
        answer = send(self, request, **named)
        line = {"method": request.method, "url": request.url, "type": request.headers.get("Content-Type", "")}
        if isinstance(body, bytes | str):
            line["body"] = body if isinstance(body, str) else body.decode("utf-8", "replace")
        elif body is not None:
            line["body"] = None  # a stream
        line["status"] = answer.status_code
        if "json" in answer.headers.get("Content-Type", ""):
            line["answer"] = answer.text
        wire.append(line)
        return answer

    requests.Session.send = recorded


def names():
    """Return the scripts' names, in the order they run."""
    return sorted(path.stem for path in SCRIPTS.glob("[a-z]*.py"))


def load(name):
    """Import one script of the folder by its name."""
    spec = importlib.util.spec_from_file_location(f"parity_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def child(name, server, pipe):
    """Run one script and send what it saw through `pipe`."""
    import random

    import numpy as np

    random.seed(7)
    np.random.seed(7)
    os.environ["MLFLOW_TRACKING_URI"] = server
    note, wire = Note(), []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        record_wire(wire)
        try:
            load(name).run(note, server)
            failure = None
        except BaseException:
            failure = traceback.format_exc()
        os.chdir("/")
    pipe.send({"notes": note.lines, "failure": failure, "wire": wire})
    pipe.close()


def main():
    server, result, *chosen = sys.argv[1:]
    os.environ["MLFLOW_TRACKING_URI"] = server
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    # a server error is an answer too: asking again would only wait
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    import lightgbm  # noqa: F401 - imported once here, so that no child pays for it
    import mlflow.lightgbm
    import mlflow.pyfunc
    import mlflow.sklearn
    import mlflow.xgboost
    import xgboost  # noqa: F401

    major = int(mlflow.__version__.split(".")[0])
    context, seen = multiprocessing.get_context("fork"), {}
    for name in chosen or names():
        if major not in getattr(load(name), "CLIENTS", (2, 3)):
            continue
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=child, args=(name, server, theirs))
        process.start()
        theirs.close()
        try:
            seen[name] = ours.recv() if ours.poll(MOST_SECONDS) else {"failure": "out of time"}
        except EOFError:
            seen[name] = {"failure": "the script's process died"}
        process.join(10)
        if process.is_alive():
            process.kill()
        print(name, "failed" if seen[name].get("failure") else "ran", file=sys.stderr, flush=True)
    Path(result).write_text(json.dumps({"mlflow": mlflow.__version__, "scripts": seen}))


if __name__ == "__main__":
    main()
