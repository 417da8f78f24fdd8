#!/usr/bin/env python3
"""What tracking costs: the same requests to Mainspring's server and to `mlflow server`, SQLite on both sides.

    .venv/bin/python benchmarks/tracking.py --python ENVIRONMENT/bin/python [--quick] [--only rest,write,...]

ENVIRONMENT holds an mlflow. Its server runs as it comes (four workers and its job runners) and in its best shape (one
worker, no jobs). Every server gets the same bytes from the same client over keep-alive sockets with TCP_NODELAY.
Counted are requests a second, the CPU milliseconds of all the server's processes for one request, the median wait,
and memory as PSS, which counts a shared page once. Databases of many runs are written directly. A question that
takes mlflow's server longer than --patience seconds is given up and said so; its ratio is then a lower bound.
The section `kept` (not among those that run by themselves) fills a store of Mainspring's with --kept runs of 10
metrics and 10 parameters, and measures writes and searches in it beside the same in an empty one.
"""

import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from load.fill import fill
from load.wire import API, Wire, throughput
from servers import Server

KINDS = ("mainspring", "mlflow-best", "mlflow")
SECTIONS = ("rest", "write", "search", "history", "artifact")
#: Requests from each client, by what is sent: fewer of what a slow server takes seconds for.
COUNTS = {"create run": (2000, 60), "log metric": (3000, 60), "log batch": (120, 6), "health": (2000, 100)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="the Python of an environment with mlflow; without it Mainspring runs alone")
    parser.add_argument("--kinds", default=",".join(KINDS), help="servers to measure")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections to run")
    parser.add_argument("--runs", default="1000,10000,100000", help="sizes of the experiments searched")
    parser.add_argument("--points", type=int, default=1_000_000, help="length of the history read")
    parser.add_argument("--megabytes", type=int, default=500, help="size of the artifact")
    parser.add_argument("--kept", type=int, default=1_000_000, help="runs in the store of the section `kept`")
    parser.add_argument("--patience", type=float, default=60, help="seconds until a question is given up")
    parser.add_argument("--quick", action="store_true", help="small sizes: a look, not a measurement")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--table", type=Path, nargs="+", help="measure nothing: show what was written, as Markdown")
    asked = parser.parse_args()
    if asked.table:
        table([json.loads(each.read_text()) for each in asked.table])
        return
    if asked.quick:
        asked.runs, asked.points, asked.megabytes, asked.kept = "200,1000", 20_000, 20, 10_000
    kinds = [each for each in asked.kinds.split(",") if each == "mainspring" or asked.python]
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind in kinds:
            python = None if kind == "mainspring" else asked.python
            figures[kind] = measure(Server(kind, python, Path(scratch) / kind), asked)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1))
    show(figures)


def measure(server, asked):
    """Return {what: figures} of one server."""
    sections, found = asked.only.split(","), {}
    server.start()
    try:
        if "rest" in sections:
            found["at rest"] = at_rest(server)
        if "write" in sections:
            found |= writes(server, asked.quick)
        if {"search", "history"} & set(sections):
            server.stop()
            sizes = [int(each) for each in asked.runs.split(",")]
            begun = time.perf_counter()
            experiments, long_run = fill(server, sizes, asked.points)
            print(f"{server.kind}: filled in {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
            server.start()
            if "history" in sections:
                found[f"history of {asked.points:,}"] = history(server, long_run, asked)
            if "search" in sections:
                found |= searches(server, experiments, asked.patience)
            if "write" in sections:  # the same throughput with many runs in the store
                found[f"create run, {sum(sizes):,} runs kept"] = throughput(
                    server, "create run", "1001", 1, 200 if server.kind == "mainspring" else 20
                )
        if "artifact" in sections:
            found |= artifact(server, asked.megabytes)
        if "kept" in sections and server.kind == "mainspring":
            found |= kept(server, asked)
    finally:
        server.stop()
    return found


def at_rest(server):
    """Return how soon it is ready, and what it holds when nobody asks."""
    time.sleep(3)
    health = throughput(server, "health", "0", 1, COUNTS["health"][server.kind != "mainspring"])
    return {
        "ready s": server.ready_seconds,
        "processes": len(server.processes()),
        "memory MB": server.memory_bytes() / 1e6,
        "health p50 ms": health["p50 ms"],
    }


def writes(server, quick, experiment=None, where=""):
    """Return the figures of each kind of write, from one client and from eight, in an experiment or a new one."""
    wire, found = Wire(server.port), {}
    if experiment is None:
        experiment = wire.ask("POST", f"{API}/experiments/create", {"name": f"writes{where}"})["experiment_id"]
    for what in ("create run", "log metric", "log batch"):
        for clients in (1, 8):
            count = COUNTS[what][server.kind != "mainspring"] // (clients if clients > 1 else 1)
            found[f"{what}, {clients} client{'s' * (clients > 1)}{where}"] = throughput(
                server, what, experiment, clients, max(2, count // (10 if quick else 1))
            )
    wire.close()
    return found


def kept(server, asked):
    """Return the figures of writes in an empty store, and of writes and searches in one that holds many runs."""
    wire = Wire(server.port)
    body = {"name": "small", "artifact_location": ""}
    small = wire.ask("POST", f"{API}/experiments/create", body)["experiment_id"]
    wire.close()
    empty = writes(server, asked.quick, small, ", empty store")
    server.stop()
    begun = time.perf_counter()
    experiments, _ = fill(server, [asked.kept // 10] * 10, 10)
    os.sync()  # else the server's first checkpoint waits for what was filled in
    size = sum(each.stat().st_size for each in server.folder.rglob("*.sqlite*"))
    print(f"filled in {time.perf_counter() - begun:.0f} s, {size / 1e6:,.0f} MB", file=sys.stderr, flush=True)
    server.start()
    where = f", {asked.kept:,} runs kept"
    full = writes(server, asked.quick, next(iter(experiments.values())), where)
    for what, figures in full.items():
        before = empty[f"{what.removesuffix(where)}, empty store"]
        figures[EMPTY] = figures["a second"] / before["a second"]
    found = {f"{what}{where}": figures for what, figures in searches(server, experiments, asked.patience).items()}
    return {**empty, **full, **found, f"memory{where}": {"memory MB": server.memory_bytes() / 1e6}}


def searches(server, experiments, patience):
    """Return the figures of each search in each experiment."""
    questions = {
        "newest 100": {},
        "filter": {"filter": "metrics.m1 > 0.5 AND params.p3 = '2'"},
        "by metric": {"order_by": ["metrics.m0 DESC"]},
        "filter, by metric": {"filter": "metrics.m1 > 0.5 AND params.p3 = '2'", "order_by": ["metrics.m0 DESC"]},
    }
    found, hopeless = {}, set()
    for size, experiment in experiments.items():
        for name, words in questions.items():
            label = f"search {name}, {size:,} runs"
            if name in hopeless:
                found[label] = {"p50 ms": patience * 1000, "given up": True}
                continue
            body = {"experiment_ids": [experiment], "max_results": 100} | words
            found[label] = question(server, body, patience)
            if found[label].get("given up"):
                hopeless.add(name)
    return found


def question(server, body, patience):
    """Ask one search several times, within `patience` seconds in all."""
    times, cpu, begun = [], server.cpu_seconds(), time.perf_counter()
    while (len(times) < 15 and time.perf_counter() - begun < patience / 4) or not times:
        wire = Wire(server.port, timeout=patience)
        at = time.perf_counter()
        try:
            answer = wire.ask("POST", f"{API}/runs/search", body)
        except TimeoutError:
            server.kill()  # it would go on computing for nobody
            server.start()
            return {"p50 ms": patience * 1000, "given up": True}
        finally:
            wire.close()
        times.append(time.perf_counter() - at)
    cpu = server.cpu_seconds() - cpu
    return {"p50 ms": 1000 * statistics.median(times), "cpu ms": 1000 * cpu / len(times), "rows": len(answer["runs"])}


def history(server, run_id, asked):
    """Read a whole history in pages, as MLflow's client does."""
    wire, token, points, cpu, begun = Wire(server.port), "", 0, server.cpu_seconds(), time.perf_counter()
    while True:
        words = f"run_id={run_id}&metric_key=long&max_results=25000" + (f"&page_token={token}" if token else "")
        answer = wire.ask("GET", f"{API}/metrics/get-history?{words}")
        points += len(answer.get("metrics", []))
        token = answer.get("next_page_token")
        if not token:
            break
    wall = time.perf_counter() - begun
    if points != asked.points:
        raise RuntimeError(f"{server.kind}: {points} of {asked.points} points came back")
    return {"p50 ms": 1000 * wall, "cpu ms": 1000 * (server.cpu_seconds() - cpu), "a second": points / wall}


def artifact(server, megabytes):
    """Send one large file up and down; return megabytes a second and how far memory rose meanwhile."""
    block, found = bytes(range(256)) * 4096, {}
    path = "/api/2.0/mlflow-artifacts/artifacts/9/large/file.bin"
    for way in ("up", "down"):
        peak = Peak(server)
        cpu, begun = server.cpu_seconds(), time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        if way == "up":
            length = {"Content-Length": str(megabytes << 20), "Content-Type": "application/octet-stream"}
            connection.request("PUT", path, (block for _ in range(megabytes)), length)
            answer = connection.getresponse()
            answer.read()
        else:
            connection.request("GET", path)
            answer, size = connection.getresponse(), 0
            while piece := answer.read(1 << 20):
                size += len(piece)
            if size != megabytes << 20:
                raise RuntimeError(f"{server.kind}: {size} bytes came back")
        if answer.status != 200:
            raise RuntimeError(f"{server.kind}: artifact {way}: {answer.status}")
        wall = time.perf_counter() - begun
        rise = peak.stop()
        cpu = server.cpu_seconds() - cpu
        found[f"artifact {way}, {megabytes} MB"] = {
            "a second": megabytes / wall,
            "cpu ms": 1000 * cpu,
            "memory MB": rise / 1e6,
        }
    return found


class Peak:
    """How far a server's memory rises while something goes on."""

    def __init__(self, server):
        self.server, self.start = server, server.memory_bytes()
        self.peak, self.over = self.start, threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self):
        while not self.over.wait(0.2):
            self.peak = max(self.peak, self.server.memory_bytes())

    def stop(self):
        """Return the rise in bytes."""
        self.over.set()
        self.thread.join()
        return self.peak - self.start


def show(figures):
    """Print a table: our figures, and each mlflow's as a ratio of ours."""
    ours = figures["mainspring"]
    for what, own in ours.items():
        print(f"\n{what}: " + ", ".join(f"{key} {_short(value)}" for key, value in own.items()))
        for kind in figures:
            theirs = figures[kind].get(what)
            if kind == "mainspring" or not theirs:
                continue
            bound = "more than " if theirs.get("given up") else ""
            words = [
                f"{key} {_short(theirs[key])} ({bound}{_ratio(key, own[key], theirs[key])})"
                for key in own
                if key in theirs
            ]
            print(f"  {kind}: " + ", ".join(words))


#: How much of its speed in an empty store a full one keeps.
EMPTY = "of the empty store's"
#: What a row of the table tells, the first of these that is there.
TOLD = {"a second": "{} a second", "p50 ms": "{} ms", "memory MB": "{} MB", "ready s": "{} s"}


def table(pieces):
    """Print runs of this benchmark as one Markdown table: our figures, and how many times mlflow's server is behind."""
    others = [each for each in KINDS[1:] if any(each in piece for piece in pieces)]
    print("| what | Mainspring | " + " | ".join(others) + " |")
    print("|---" * (len(others) + 2) + "|")
    rows = {}
    for piece in pieces:
        for what, own in piece["mainspring"].items():
            keys = ("memory MB", "ready s") if what == "at rest" else [next(each for each in TOLD if each in own)]
            for key in keys:
                label = f"{what}, {key.split()[0]}" if what == "at rest" else what
                cells = rows.setdefault(label, {"mainspring": TOLD[key].format(_short(own[key]))})
                if EMPTY in own:
                    cells["mainspring"] += f" ({own[EMPTY]:.2f} of the empty store's)"
                for kind in set(others) & {*piece}:
                    theirs = piece[kind].get(what)
                    if theirs:
                        bound = "more than " if theirs.get("given up") else ""
                        cells[kind] = (
                            f"{TOLD[key].format(_short(theirs[key]))}, {bound}{_ratio(key, own[key], theirs[key])}"
                        )
    for what, cells in rows.items():
        print(f"| {what} | " + " | ".join(cells.get(kind, "") for kind in ("mainspring", *others)) + " |")


def _ratio(key, own, theirs):
    better, worse = (own, theirs) if key == "a second" else (theirs, own)
    return f"x{better / worse:.3g}" if worse > 0 else "-"


def _short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
