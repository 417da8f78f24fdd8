#!/usr/bin/env python3
"""Prediction servers side by side: same model, same rows, one core for the server and another for the load.

    python benchmarks/serving.py                                   # our server, its bare HTTP stack, and FastAPI
    python benchmarks/serving.py --models pipeline forest lightgbm --peers bare mainspring fastapi mlserver litserve \
        bentoml mlflow ray                                        # everybody, for a quarter of an hour

Each peer lives in an environment of its own, made below `--environments` when it is not there (needs `uv`); `wrk` makes
the load. Our server writes its prediction log and counts its metrics, as it always does. The ratios compare servers of
one run; the figures themselves are of this machine.
"""

import argparse
import contextlib
import json
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mainspring.bundle.format import write_bundle
from mainspring.domain.signature import Column, Signature
from mainspring.errors import MainspringError

HERE = Path(__file__).resolve().parent / "serving"
REQUIREMENTS = {
    "fastapi": ["fastapi", "uvicorn[standard]"],
    "litserve": ["litserve"],
    "mlserver": ["mlserver"],
    "bentoml": ["bentoml"],
    "mlflow": ["mlflow"],
    "ray": ["ray[serve]"],
}
MODELS = ["pipeline", "forest", "lightgbm"]
PEERS = ["bare", "mainspring", *REQUIREMENTS]
NUMBERS, TEXTS = [f"n{at}" for at in range(6)], [f"s{at}" for at in range(4)]


@dataclass
class Served:
    """A model, where a peer finds it, and rows to ask about."""

    pickled: Path
    bundle: Path | None
    rows: list[dict[str, Any]]


def models(folder: Path, wanted: list[str]) -> dict[str, Served]:
    """Fit the models and write them down for everybody."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.normal(at, 1 + at, 5000) for at, name in enumerate(NUMBERS)})
    target = (frame.n0 + frame.n1 - 0.2 * frame.n2 + rng.normal(0, 1, 5000) > 1).astype(int)
    mixed = frame.assign(**{name: pd.Series(rng.choice(list("abcdefgh"), 5000), dtype="str") for name in TEXTS})
    made: dict[str, Served] = {}
    for name in wanted:
        table: pd.DataFrame = mixed if name == "pipeline" else frame
        model: Any
        if name == "pipeline":
            encode = ColumnTransformer(
                [("n", StandardScaler(), NUMBERS), ("s", OneHotEncoder(handle_unknown="ignore"), TEXTS)]
            )
            model = make_pipeline(encode, LogisticRegression(max_iter=1000))
        elif name == "forest":
            model = RandomForestClassifier(100, max_depth=12, random_state=0, n_jobs=1)
        else:
            from lightgbm import LGBMClassifier  # an extra: not everybody who measures has it

            model = LGBMClassifier(n_estimators=200, n_jobs=1, verbose=-1)
        model.fit(table, target)
        rows = json.loads(table.head(100).to_json(orient="records"))
        kinds = {column: str if column in TEXTS else float for column in table}
        pickled = folder / f"{name}.pickle"
        pickled.write_bytes(pickle.dumps((model, kinds)))
        columns = tuple(
            Column(each, "string", categories=tuple("abcdefgh"))
            if each in TEXTS
            else Column(each, "number", low=float(table[each].min()), high=float(table[each].max()))
            for each in table
        )
        bundle: Path | None = folder / "bundles" / name
        try:
            assert bundle is not None
            signature = Signature(columns, "y", "binary", ("0", "1"), rows[0])
            sample = {each: table[each].to_numpy(object if each in TEXTS else float)[:1000] for each in table}
            write_bundle(bundle, model, signature, name=name, sample=sample)
        except MainspringError as error:
            print(f"{name}: not packed: {error}", file=sys.stderr)
            bundle = None
        made[name] = Served(pickled, bundle, rows)
    return made


def environment(peer: str, folder: Path) -> Path:
    """Return the Python of a peer's environment, making it if need be."""
    home = folder / peer
    if not (home / "bin/python").exists():
        uv = shutil.which("uv") or sys.exit("`uv` makes the peers' environments, and it is not installed")
        same = [f"{name}=={metadata.version(name)}" for name in ("scikit-learn", "pandas", "numpy")]
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, home], check=True)
        words = [uv, "pip", "install", "-q", "--python", home / "bin/python", *REQUIREMENTS[peer], *same, "lightgbm"]
        subprocess.run(words, check=True)
    return home / "bin/python"


def command(peer: str, served: Served, name: str, port: int, folder: Path, environments: Path) -> list[Any]:
    """Return the words that start a peer's server."""
    if peer in ("bare", "mainspring"):
        entry = [HERE / "bare.py"] if peer == "bare" else ["-m", "mainspring.serve"]
        return [sys.executable, *entry, served.bundle, "--journals", folder / "journals", "--port", port]
    python = environment(peer, environments)
    if peer == "fastapi":
        words = ["--app-dir", HERE, "--host", "127.0.0.1", "--port", port, "--no-access-log", "--log-level", "warning"]
        return [python, "-m", "uvicorn", "fastapi_app:app", *words]
    if peer in ("litserve", "ray"):
        return [python, HERE / f"{peer}_app.py", port]
    if peer == "bentoml":
        return [python.with_name("bentoml"), "serve", "bentoml_service:Service", "-p", port, "--working-dir", HERE]
    if peer == "mlserver":
        home = folder / "mlserver"
        home.mkdir(exist_ok=True)
        shutil.copy(HERE / "mlserver_model.py", home)
        ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
        settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
        (home / "settings.json").write_text(json.dumps(settings))
        model = {"name": "m", "implementation": "mlserver_model.Model", "parameters": {"content_type": "pd"}}
        (home / "model-settings.json").write_text(json.dumps(model))
        return [python.with_name("mlserver"), "start", home]
    saved = folder / f"mlflow-{name}"
    if not saved.exists():
        script = "import mlflow, pickle, sys; model, _ = pickle.load(open(sys.argv[1], 'rb'));"
        script += "mlflow.sklearn.save_model(model, sys.argv[2], serialization_format='cloudpickle')"
        subprocess.run([python, "-c", script, served.pickled, saved], check=True, capture_output=True)
    words = ["-m", saved, "-h", "127.0.0.1", "-p", port, "--env-manager", "local", "-w", "1"]
    return [python.with_name("mlflow"), "models", "serve", *words]


def request(peer: str, name: str, rows: list[dict[str, Any]]) -> tuple[str, bytes]:
    """Return the path and the body that ask a peer about rows."""
    if peer == "mlserver":
        inputs = [
            {"name": each, "shape": [len(rows)], "datatype": "BYTES" if each in TEXTS else "FP64"}
            | {"data": [row[each] for row in rows]}
            | ({"parameters": {"content_type": "str"}} if each in TEXTS else {})
            for each in rows[0]
        ]
        return "/v2/models/m/infer", json.dumps({"inputs": inputs, "parameters": {"content_type": "pd"}}).encode()
    if peer == "mlflow":
        return "/invocations", json.dumps({"dataframe_records": rows}).encode()
    path = f"/models/{name}/predict" if peer in ("bare", "mainspring") else "/predict"
    return path, json.dumps({"rows": rows}).encode()


@contextlib.contextmanager
def running(words: list[Any], served: Served, url: str, body: bytes, log: Path) -> Iterator[tuple[float, int]]:
    """Run a server on core 0; give the seconds until its first answer, and its memory in MiB then."""
    home = Path(words[0]).parent
    paths = os.pathsep.join([str(home), os.environ["PATH"]])
    variables = {**os.environ, "MODEL": str(served.pickled), "OMP_NUM_THREADS": "1", "PATH": paths}
    variables["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = time.monotonic()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            ["taskset", "-c", "0", *map(str, words)],
            env=variables,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
        )
    try:
        while True:
            try:
                ask = urllib.request.Request(url, body, {"content-type": "application/json"})  # our own
                urllib.request.urlopen(ask, timeout=10).read()
                break
            except OSError as error:
                if process.poll() is not None or time.monotonic() - started > 120:
                    tail = log.read_bytes()[-1500:].decode(errors="replace")
                    raise RuntimeError(f"it does not answer ({error}):\n{tail}") from error
                time.sleep(0.02)
        yield time.monotonic() - started, _memory(process.pid)
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def _memory(pid: int) -> int:
    root = psutil.Process(pid)
    total = 0
    for each in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            total += each.memory_full_info().pss
    return total >> 20


def load(url: str, body: bytes, clients: int, seconds: int, folder: Path) -> dict[str, float]:
    """Put load on a server from core 1 for some seconds."""
    script = folder / "wrk.lua"
    quoted = body.decode()
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["content-type"] = "application/json"\nwrk.body = [==[{quoted}]==]\n'
    )
    words = ["taskset", "-c", "1", "wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "--latency"]
    out = subprocess.run([*words, "-s", str(script), url], capture_output=True, text=True, check=True).stdout
    found = {share: _milliseconds(value) for share, value in re.findall(r"^\s+(50|99)%\s+(\S+)\s*$", out, re.MULTILINE)}
    rate = re.search(r"Requests/sec:\s+(\S+)", out)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return {
        "rps": float(rate[1]) if rate else 0.0,
        "p50_ms": found.get("50", 0.0),
        "p99_ms": found.get("99", 0.0),
        "failed": float(failed[1]) if failed else 0.0,
    }


def _milliseconds(text: str) -> float:
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[unit]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=["bare", "mainspring", "fastapi"])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 100])
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir()) / "mainspring-peers")
    parser.add_argument("--json", type=Path, help="write every figure here")
    given = parser.parse_args()
    if not shutil.which("wrk") or (os.cpu_count() or 1) < 2:
        sys.exit("this needs `wrk` and two cores")
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, served in models(folder, given.models).items():
            for peer in given.peers:
                if peer in ("bare", "mainspring") and served.bundle is None:
                    continue
                port = _free_port()
                path, body = request(peer, name, served.rows[:1])
                url = f"http://127.0.0.1:{port}{path}"
                log = folder / f"{peer}.log"
                try:
                    words = command(peer, served, name, port, folder, given.environments)
                    with running(words, served, url, body, log) as (cold, memory):
                        load(url, body, 4, 1, folder)  # warm
                        for rows in given.rows:
                            _, body = request(peer, name, served.rows[:rows])
                            for clients in given.clients:
                                one = {"model": name, "peer": peer, "rows": rows, "clients": clients}
                                one |= load(url, body, clients, given.seconds, folder)
                                one |= {"cold_s": round(cold, 2), "pss_mib": memory}
                                figures.append(one)
                                print(json.dumps(one), flush=True)
                except (RuntimeError, subprocess.CalledProcessError) as error:
                    print(f"{peer} did not run: {error}", file=sys.stderr)
    report(figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2))
    return 0


def report(figures: list[dict[str, Any]]) -> None:
    """Print each peer beside our server: how many times its requests a second, and its latency."""
    ours = {(one["model"], one["rows"], one["clients"]): one for one in figures if one["peer"] == "mainspring"}
    print("\nmodel     rows clients peer            rps  ours x  p50 x  p99 x  cold s, MiB")
    for one in figures:
        mine = ours.get((one["model"], one["rows"], one["clients"]))
        ratios = "".rjust(21)
        if mine and one["rps"] and mine["p50_ms"]:
            rate, p50, p99 = mine["rps"] / one["rps"], one["p50_ms"] / mine["p50_ms"], one["p99_ms"] / mine["p99_ms"]
            ratios = f"{rate:7.2f} {p50:6.1f} {p99:6.1f}"
        bad = f"  {one['failed']:.0f} failed" if one["failed"] else ""
        print(
            f"{one['model']:9} {one['rows']:4} {one['clients']:7} {one['peer']:10} {one['rps']:8.0f} {ratios}"
            f"  {one['cold_s']}, {one['pss_mib']}{bad}"
        )


if __name__ == "__main__":
    sys.exit(main())
