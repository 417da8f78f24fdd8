"""Changes under full load: hot swaps, rollbacks and killed workers, while clients ask without a pause.

    python benchmarks/serving_soak.py                       # two minutes: 50 swaps, 10 rollbacks, 5 kills
    python benchmarks/serving_soak.py --seconds 6 --swaps 5 --rollbacks 2 --kills 1

Shown at the end, and the exit code is 1 where one of them does not hold: no request failed but those under way in a
killed worker; the journal holds every acknowledged answer exactly once; a rollback is followed in less than a second.
"""

import argparse
import http.client
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import psutil
from sklearn.linear_model import LogisticRegression

from mainspring.bundle.format import write_bundle
from mainspring.domain.signature import Column, Signature
from mainspring.predictions.journal import journals, read_frames
from mainspring.predictions.records import BatchRecord, decode_record
from mainspring.serve.process import ServerProcess
from mainspring.serve.routes import Route, RouteTable, write_routes

NAME, BODY = "soak", b'{"rows": [{"x": 0.5, "y": -1.0}]}'


class Load:
    """Clients that ask until they are told to stop, each over one kept connection."""

    def __init__(self, url: str, clients: int) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        self._stop = threading.Event()
        self.ids: list[list[str]] = [[] for _ in range(clients)]
        self.cut: list[float] = []
        self.failed: list[str] = []
        self.seen: Counter[int] = Counter()
        self.latest: tuple[float, int] = (0.0, 0)
        self._threads = [threading.Thread(target=self._ask, args=(ids,)) for ids in self.ids]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, ids: list[str]) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                connection.request("POST", f"/models/{NAME}/predict", BODY)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException):
                self.cut.append(time.monotonic())
                connection.close()
                continue
            if response.status != 200:
                self.failed.append(f"{response.status}: {content.decode()}")
                continue
            answer = json.loads(content)
            ids.append(answer["predictions"][0]["id"])
            self.seen[answer["version"]] += 1
            if began > self.latest[0]:
                self.latest = began, answer["version"]


def bundles(folder: Path) -> list[Path]:
    """Write three versions of one small model."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=400), "y": rng.normal(size=400)})
    made = []
    for version in (1, 2, 3):
        model = LogisticRegression(C=0.1**version).fit(frame, frame.x + frame.y > 0)
        signature = Signature(
            (Column("x", "number"), Column("y", "number")), "z", "binary", ("False", "True"), {"x": 0.0, "y": 0.0}
        )
        made.append(folder / str(version))
        write_bundle(made[-1], model, signature, name=NAME)
    return made


def until(condition: object, seconds: float = 60.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            sys.exit("a change was not followed within a minute")
        time.sleep(0.002)


def main() -> int:
    """Run the scene and judge it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"seconds": 120.0, "swaps": 50, "rollbacks": 10, "kills": 5, "workers": 2, "clients": 8}.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    given = parser.parse_args()
    events = ["swap"] * given.swaps + ["rollback"] * given.rollbacks + ["kill"] * given.kills
    events = [events[int(at)] for at in np.random.default_rng(1).permutation(len(events))]
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        made = bundles(home / "bundles")
        revision, version, before = 1, 1, 2

        def route(to: int) -> None:
            table = RouteTable(NAME, revision, (Route(to, str(made[to - 1]), "champion", 100.0),))
            write_routes(home / "endpoints" / f"{NAME}.json", table)

        route(version)
        options = ["--workers", str(given.workers)]
        rollbacks: list[float] = []
        with ServerProcess.start(home / "endpoints", home / "journals", options=options) as server:
            started = time.monotonic()
            with Load(server.url, given.clients) as load:
                for number, event in enumerate(events):
                    time.sleep(max(0.0, started + (number + 1) * given.seconds / (len(events) + 1) - time.monotonic()))
                    if event == "kill":
                        os.kill(max(each.pid for each in psutil.Process(server.pid).children()), signal.SIGKILL)
                        continue
                    revision += 1
                    version, before = (before, version) if event == "rollback" else (version % 3 + 1, version)
                    route(version)
                    changed = time.monotonic()
                    until(lambda at=changed, to=version: load.latest[0] > at and load.latest[1] == to)
                    if event == "rollback":
                        rollbacks.append(time.monotonic() - changed)
                time.sleep(max(0.0, started + given.seconds - time.monotonic()))
            memory = sum(each.memory_info().rss for each in psutil.Process(server.pid).children()) >> 20
        acknowledged = [identifier for ids in load.ids for identifier in ids]
        recorded: Counter[str] = Counter()
        for journal in journals(home / "journals"):
            for payload, _ in read_frames(journal.path):
                record = decode_record(payload)
                assert isinstance(record, BatchRecord)
                recorded.update(record.ids)
    missing = sum(identifier not in recorded for identifier in acknowledged)
    twice = sum(count > 1 for count in recorded.values())
    allowed = given.kills * given.clients
    print(f"{len(acknowledged):,} answers of versions {dict(sorted(load.seen.items()))} in {given.seconds:.0f} s")
    print(f"{given.swaps} swaps, {given.rollbacks} rollbacks, {given.kills} kills; workers use {memory} MiB in all")
    print(f"failed: {len(load.failed)}; cut with a killed worker: {len(load.cut)} (at most {allowed} were under way)")
    print(f"acknowledged and not in the journal: {missing}; in it twice: {twice}; not acknowledged: "
          f"{len(recorded) - len(acknowledged)}")  # fmt: skip
    print(f"slowest rollback: {max(rollbacks, default=0.0):.2f} s until another client was answered by it")
    for line in load.failed[:3]:
        print("  " + line)
    well = not load.failed and len(load.cut) <= allowed and not missing and not twice and max(rollbacks, default=0) < 1
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
