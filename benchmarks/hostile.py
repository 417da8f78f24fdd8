#!/usr/bin/env python3
"""Send thousands of malformed and hostile requests to a server and look for three things that must never happen.

    .venv/bin/python benchmarks/hostile.py [--requests 10000] [--seed 1]

No answer may be a 500, nothing outside the artifact root may be read or written, and memory may not grow without
bound. The requests are made from the server's own table of routes: every endpoint gets wrong types, SQL, odd numbers,
forged tokens, deep and huge JSON, broken UTF-8, paths that climb out in every spelling, odd headers, bodies packed
tightly, and requests that are no HTTP. Secret files lie around the server's folder; an answer that holds their words
has escaped. The exit code is 1 when something was found.
"""

import argparse
import gzip
import json
import random
import re
import socket
import sys
import tempfile
import time
import urllib.parse
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from load.wire import API, Wire, create_run
from servers import Server

SECRET = "the-secret-that-must-not-leave"
MOST_MB = 220
#: What is not offered: MLflow's part for many workspaces answers 503, storage without presigned addresses 501.
REFUSALS = (501, 503)
MOST_SECONDS = 30
MOST_PIECES = 4000

#: What is sent: the words by where they go. Broken UTF-8 and control characters lie there as JSON writes them.
WORDS = json.loads((Path(__file__).parent / "load" / "hostile.json").read_text())
NUMBERS = [0, -1, 1, 2**31, -(2**31), 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 10**400, 1.5, -0.0, 1e308, 1e-320]
LONG = {
    "paths": ["a" * 5000, "a/" * 2000 + "b"],
    "texts": ["a" * 300, "9" * 400],
    "filters": [
        "a" * 20000,
        "(" * 5000,
        "not " * 3000 + "metrics.m > 1",
        "metrics.m > 1 and " * 800 + "metrics.m > 1",
        "params.x LIKE '" + "%a" * 500 + "'",
        "params.x IN (" + ",".join(["'a'"] * 5000) + ")",
        "metrics.m > -" + "9" * 400,
        "datasets.name = 'x' and " * 60 + "datasets.name = 'x'",
        "tags.t = 'v' and " * 70 + "tags.t = 'v'",
    ],
    "orders": ["metrics." + "a" * 9000],
    "tokens": ["A" * 50000],
    "body": ['{"a":' * 3000, "[" * 100000, '{"metrics": [' + "{}," * 5000 + "{}]}"],
    "header": ["Authorization: Basic " + "A" * 9000, "Cookie: " + "a=b; " * 3000, "X-A: " + "b" * 70000],
    "raw": ["GET /" + "a" * 90000 + " HTTP/1.1\r\n\r\n", "\x00" * 500, "GET /health HTTP/1.1\r\n" + "A: b\r\n" * 5000],
}
WORDS = {where: [*words, *LONG[where]] for where, words in WORDS.items()}
PATHS, TEXTS = WORDS["paths"], WORDS["texts"]
READERS = ("/get-artifact", "/model-versions/get-artifact", f"{API}/artifacts/list")
#: What each field of a request is taken for.
KINDS = {
    "text": "experiment_id name new_name key run_view_type view_type model_id model_json status run_name version "
    "stage alias description secret metric_key reason as_of role user experiment_name",
    "texts": "experiment_ids run_ids tag_keys",
    "path": "artifact_location source path url artifact_file_path",
    "run": "run_id run_uuid",
    "any": "value datasets models events archive_existing_versions",
    "number": "timestamp step max_results start_time end_time start_step end_step",
    "filter": "filter filter_string sql",
    "orders": "order_by",
    "token": "page_token",
    "points": "metrics",
    "pairs": "params tags",
}
FIELDS = {name: kind for kind, names in KINDS.items() for name in names.split()}


class Foe:
    """Makes hostile requests from a seed."""

    def __init__(self, seed, routes, run_id):
        self.random, self.routes, self.run_id = random.Random(seed), routes, run_id

    def value(self, kind):
        """Return a hostile value where `kind` is expected, or something else altogether."""
        pick = self.random.choice
        if self.random.random() < 0.15:
            return pick(
                [None, True, [], {}, [[]], {"a": {"b": []}}, [1, "x", None], self.deep(60), pick(NUMBERS), pick(TEXTS)]
            )
        if kind == "run":
            return self.run_id if self.random.random() < 0.6 else pick(TEXTS)
        if kind == "texts":
            return [pick([*TEXTS, "0", "1"]) for _ in range(pick([0, 1, 3, 50]))]
        if kind == "orders":
            return [pick(WORDS["orders"]) for _ in range(pick([1, 2, 40]))]
        if kind == "points":
            return [
                {
                    "key": pick(TEXTS),
                    "value": pick([*NUMBERS, "NaN", "x"]),
                    "timestamp": pick(NUMBERS),
                    "step": pick(NUMBERS),
                }
            ] * pick([1, 3])
        if kind == "pairs":
            return [{"key": pick(TEXTS), "value": pick(TEXTS)} for _ in range(pick([1, 3, 200]))]
        pools = {
            "text": TEXTS,
            "number": NUMBERS,
            "filter": WORDS["filters"],
            "token": WORDS["tokens"],
            "path": PATHS,
            "any": [*TEXTS, *NUMBERS],
        }
        return pick(pools[kind])

    def deep(self, levels):
        """Return lists within lists."""
        value = []
        for _ in range(levels):
            value = [value]
        return value

    def request(self):
        """Return the bytes of one request and what it is."""
        kind = self.random.choices(
            ["fields", "path", "body", "header", "raw", "packed", "huge"], [50, 22, 12, 8, 5, 2, 1]
        )[0]
        return kind, getattr(self, f"_{kind}")()

    def _route(self):
        method, path = self.random.choice(self.routes)
        path = re.sub(r"\{[^}]*\}", lambda _: self._in_path(), path)
        return method, path

    def _in_path(self):
        word = self.random.choice([*PATHS, *TEXTS, self.run_id, "1"])
        if self.random.random() < 0.5:
            return urllib.parse.quote(word.encode("utf-8", "surrogatepass"), safe="")
        return "".join(each if " " < each < "\x7f" and each not in "?#" else "%41" for each in word)[:6000]

    def _fields(self):
        method, path = self._route()
        names = self.random.sample(sorted(FIELDS), self.random.choice([1, 2, 4, 8]))
        if self.random.random() < 0.7 and "run_id" not in names:
            names.append("run_id")
        fields = {name: self.value(FIELDS[name]) for name in names}
        if method == "GET":
            pairs = [(k, each) for k, v in fields.items() for each in (v if isinstance(v, list) else [v])]
            query = "&".join(f"{k}={urllib.parse.quote(str(v).encode('utf-8', 'surrogatepass'))}" for k, v in pairs)
            return _request(method, f"{path}?{query[:50000]}")
        return _request(method, path, json.dumps(fields).encode("utf-8", "surrogatepass"))

    def _path(self):
        word, where = self.random.choice(PATHS), self.random.randrange(6)
        quoted = "".join(
            each if "!" <= each < "\x7f" and each not in "?#" else urllib.parse.quote(each) for each in word
        )
        root = self.random.choice(["/api", "/ajax-api"]) + "/2.0/mlflow-artifacts"
        if where == 0:
            return _request(self.random.choice(["GET", "DELETE"]), f"{root}/artifacts/{quoted}")
        if where == 1:
            return _request("PUT", f"{root}/artifacts/{quoted}", b"written by a foe", "application/octet-stream")
        asked = urllib.parse.urlencode({"path": word, "run_id": self.run_id, "run_uuid": self.run_id}, errors="replace")
        if where == 2:
            return _request("GET", f"{root}/artifacts?{asked}")
        if where == 3:
            return _request("POST", f"/ajax-api/2.0/mlflow/upload-artifact?{asked}", b"written by a foe", "text/plain")
        if where == 4:
            return _request(
                "POST",
                f"{root}/mpu/{self.random.choice(['create', 'complete', 'abort'])}/{quoted}",
                b'{"path": "x", "num_parts": 3}',
            )
        return _request(
            "GET",
            f"{self.random.choice(READERS)}?{asked}&name=x&version=1",
        )

    def _body(self):
        method, path = self._route()
        method = "POST" if method == "GET" else method
        body = self.random.choice(WORDS["body"]).encode("latin-1")
        return _request(
            method,
            path,
            body,
            self.random.choice(
                [
                    "application/json",
                    "text/plain",
                    "application/x-www-form-urlencoded",
                    "",
                    "multipart/form-data; boundary=x",
                    "application/json; charset=utf-16",
                ]
            ),
        )

    def _header(self):
        method, path = self._route()
        extra = self.random.choice(WORDS["header"])
        return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{extra}\r\nConnection: close\r\n\r\n".encode(
            "utf-8", "replace"
        )

    def _raw(self):
        return self.random.choice(WORDS["raw"]).encode("latin-1")

    def _packed(self):
        method, path = self._route()
        body = gzip.compress(b"\x00" * (30 << 20))
        return _request(
            "POST" if method == "GET" else method, path, body, "application/json", "Content-Encoding: gzip\r\n"
        )

    def _huge(self):
        method, path = self._route()
        name = self.random.choice(["name", "key", "value", "filter", "source", "page_token", "description", "run_name"])
        body = json.dumps({"run_id": self.run_id, "experiment_id": "0", name: "x" * (10 << 20)}).encode()
        return _request("POST" if method == "GET" else method, path, body)


def _request(method, path, body=None, content_type="application/json", extra=""):
    path = path.encode("utf-8", "surrogatepass").replace(b" ", b"%20").replace(b"\r", b"%0d").replace(b"\n", b"%0a")
    length = "" if body is None else f"Content-Length: {len(body)}\r\nContent-Type: {content_type}\r\n"
    return (
        method.encode()
        + b" "
        + path
        + f" HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}{extra}Connection: close\r\n\r\n".encode()
        + (body or b"")
    )


def exchange(port, request, is_whole):
    """Send bytes and return whatever comes back until the server closes; end our side if they are no whole request."""
    with socket.create_connection(("127.0.0.1", port), timeout=MOST_SECONDS) as wire:
        try:
            wire.sendall(request)
            if not is_whole:
                wire.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server refused before it had read everything
        parts = []
        try:
            while piece := wire.recv(1 << 16):
                parts.append(piece)
                if len(parts) > MOST_PIECES:
                    return b"HTTP/1.1 598 without end"
        except TimeoutError:
            return b"HTTP/1.1 599 out of time"
        except OSError:
            pass
        return b"".join(parts)


def routes():
    """Return the server's own table, every method and path."""
    from mainspring.server.mlflow import MLFLOW_ROUTES
    from mainspring.server.native import NATIVE_ROUTES

    return sorted({(each.method, each.path.replace("...", "")) for each in (*MLFLOW_ROUTES, *NATIVE_ROUTES)})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        outside = Path(scratch)
        inner = outside / "a" / "b" / "server"
        for folder in (outside, outside / "a", outside / "a" / "b"):
            folder.mkdir(exist_ok=True)
            (folder / "secret").write_text(SECRET)
        server = Server("mainspring", None, inner).start()
        try:
            sys.exit(attack(server, outside, asked))
        finally:
            server.stop()


def attack(server, outside, asked):
    """Send the requests; print what came of them; return 1 when something must not have happened."""
    wire = Wire(server.port)
    run_id = create_run(wire, "0")
    wire.close()
    before = _tree(outside, server.folder)
    foe, statuses, wrong, peak, begun = Foe(asked.seed, routes(), run_id), Counter(), [], 0, time.perf_counter()
    for number in range(asked.requests):
        kind, request = foe.request()
        answer = exchange(server.port, request, kind not in ("raw", "header"))
        status = int(answer[9:12]) if answer[:5] == b"HTTP/" and answer[9:12].isdigit() else 0
        statuses[status] += 1
        if (status >= 500 and status not in REFUSALS) or SECRET.encode() in answer or b"root:x:0" in answer:
            wrong.append((number, kind, request[:300], answer[:300]))
        if number % 50 == 0 or kind in ("packed", "huge"):
            peak = max(peak, server.memory_bytes())
            if server.process.poll() is not None:
                wrong.append((number, kind, request[:300], b"the server died"))
                break
    new = _tree(outside, server.folder) - before
    wire = Wire(server.port)
    alive = wire.ask("GET", f"{API}/runs/get?run_id={run_id}")["run"]["info"]["run_id"] == run_id
    print(
        f"{sum(statuses.values()):,} requests in {time.perf_counter() - begun:.0f} s: {dict(sorted(statuses.items()))}"
    )
    print(f"memory at most {peak / 1e6:.0f} MB; still answers: {alive}; new files outside: {sorted(new) or 'none'}")
    for number, kind, request, answer in wrong[:20]:
        print(f"  {number} {kind}: {request!r}\n    -> {answer!r}")
    if wrong:
        log = (server.folder / "log").read_text().splitlines()
        print("\n".join([line for line in log if " WARNING " not in line][-200:]))
    print(f"{len(wrong)} answers that must not be")
    return 1 if wrong or new or not alive or peak > MOST_MB * 1e6 else 0


def _tree(outside, inside):
    return {str(each) for each in outside.rglob("*") if inside not in each.parents and each != inside}


if __name__ == "__main__":
    main()
