"""Memory of a prediction server over a million requests, and over 500 hot swaps to versions it never saw, under load.

    python benchmarks/serving_memory.py [--requests 1000000] [--swaps 500]

Printed is the server's memory (RSS) after each tenth. The exit code is 1 where the last tenth stands more than a tenth
above the third: memory that grows with what was answered, or with what was swapped in and out, would.
"""

import argparse
import itertools
import json
import shutil
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import psutil
from serving_soak import BODY, NAME, bundles, until

from mainspring.serve.load import measure
from mainspring.serve.process import ServerProcess
from mainspring.serve.routes import Route, RouteTable, write_routes

_CLIENTS = 16
_PIECE_SECONDS = 2.0
_MIB = 1 << 20


def main() -> int:
    """Run both and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--swaps", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        made = bundles(home / "bundles")
        route(home, 1, made[0])
        with ServerProcess.start(home / "endpoints", home / "journals") as server:
            over_requests = requests(server, given.requests)
            print(f"{given.requests:,} requests: {told(over_requests)}", flush=True)
            over_swaps = swaps(server, home, made, given.swaps)
            print(f"{given.swaps:,} swaps under load: {told(over_swaps)}")
    return 0 if is_flat(over_requests) and is_flat(over_swaps) else 1


def route(home: Path, version: int, bundle: Path) -> None:
    """Make a version the champion."""
    table = RouteTable(NAME, version, (Route(version, str(bundle), "champion", 100.0),))
    write_routes(home / "endpoints" / f"{NAME}.json", table)


def requests(server: ServerProcess, count: int) -> list[float]:
    """Send `count` requests; return the memory after each tenth."""
    found, sent = [], 0
    for tenth in range(1, 11):
        while sent < count * tenth // 10:
            path = f"/models/{NAME}/predict"
            load = measure(server.url, path, BODY, rows=1, clients=_CLIENTS, seconds=_PIECE_SECONDS, pid=server.pid)
            if load.failed:
                sys.exit(f"{load.failed} requests failed")
            sent += load.requests
        found.append(memory(server))
    return found


def swaps(server: ServerProcess, home: Path, made: list[Path], count: int) -> list[float]:
    """Swap in `count` new versions while clients ask; return the memory after each tenth."""
    over = threading.Event()
    failed: list[int] = []

    def ask() -> None:
        while not over.is_set():
            path = f"/models/{NAME}/predict"
            load = measure(server.url, path, BODY, rows=1, clients=2, seconds=0.5, pid=server.pid)
            failed.append(load.failed)

    asking = threading.Thread(target=ask)
    asking.start()
    found = []
    bundle_of = itertools.cycle(made)
    for number in range(1, count + 1):
        version = number + 1
        bundle = shutil.copytree(next(bundle_of), home / "bundles" / f"v{version}")
        route(home, version, bundle)
        until(lambda version=version: champion(server) == version)
        if number * 10 // count > len(found):
            found.append(memory(server))
    over.set()
    asking.join()
    if sum(failed):
        sys.exit(f"{sum(failed)} requests failed while versions changed")
    return found


def champion(server: ServerProcess) -> int:
    """Return the version that answers."""
    asked = urllib.request.Request(f"{server.url}/models/{NAME}/predict", BODY, {"content-type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return int(json.loads(answer.read())["version"])


def memory(server: ServerProcess) -> float:
    """Return the server's memory in MiB, when it has come to rest."""
    time.sleep(0.2)
    process = psutil.Process(server.pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / _MIB


def told(found: list[float]) -> str:
    """Return the tenths in words."""
    return " ".join(f"{each:.1f}" for each in found) + " MiB"


def is_flat(found: list[float]) -> bool:
    """Whether the last tenth stands at most a tenth above the third."""
    return found[-1] <= 1.1 * found[min(2, len(found) - 1)]


if __name__ == "__main__":
    sys.exit(main())
