#!/usr/bin/env python3
"""Kill the server with SIGKILL again and again while processes log to it, then count what they were promised.

    .venv/bin/python benchmarks/kill.py [--kills 50] [--clients 8] [--seconds 0.3]

Each client process makes runs and logs single points and batches; a request without an answer is sent again, as
clients do. What the server acknowledged is remembered. At the end every acknowledged run and point must be there,
each point once, and every point that is there must have been sent. The exit code is 1 when not.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from load.wire import API, Wire
from servers import Server

KEYS = ("loss", "accuracy")


def client(number, port, experiment, over, pipe):
    """Log until `over`, remembering what was acknowledged: {run id: {(key, step, value)}} and what was sent."""
    promised, sent, wire, turn, run_id, resent = {}, {}, None, 0, None, 0
    while not over.is_set():
        if run_id is None:
            body = {"experiment_id": experiment, "start_time": turn, "run_name": f"client {number}"}
            path, points = "runs/create", []
        elif turn % 5 == 0:
            points = [(KEYS[each % 2], turn * 10 + each, number + turn / 7) for each in range(10)]
            path, body = "runs/log-batch", {"run_id": run_id, "metrics": [_point(each) for each in points]}
        else:
            points = [(KEYS[turn % 2], turn * 10, number + turn / 3)]
            path, body = "runs/log-metric", {"run_id": run_id, **_point(points[0])}
        if points:
            sent[run_id].update(points)
        while True:
            try:
                wire = wire or Wire(port, timeout=20)
                answer = wire.ask("POST", f"{API}/{path}", body)
                break
            except OSError:
                if wire:
                    wire.close()
                wire, resent = None, resent + 1
                if over.is_set():
                    answer = None
                    break
                time.sleep(0.01)
        if answer is None:
            break
        if run_id is None:
            run_id = answer["run"]["info"]["run_id"]
            promised[run_id], sent[run_id] = set(), set()
        else:
            promised[run_id].update(points)
        turn += 1
        if turn % 200 == 0:
            run_id = None
    pipe.send((promised, sent, resent))


def _point(point):
    key, step, value = point
    return {"key": key, "step": step, "value": value, "timestamp": step}


def kept(port, run_id, key):
    """Return the points of one metric, as (key, step, value), each as often as it is there."""
    wire, token, points = Wire(port), "", []
    while True:
        words = f"run_id={run_id}&metric_key={key}&max_results=25000" + (f"&page_token={token}" if token else "")
        answer = wire.ask("GET", f"{API}/metrics/get-history?{words}")
        points += [(each["key"], each["step"], each["value"]) for each in answer.get("metrics", [])]
        token = answer.get("next_page_token")
        if not token:
            wire.close()
            return points


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.3, help="how long the server lives between two kills")
    asked = parser.parse_args()
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        server = Server("mainspring", None, Path(folder) / "server").start()
        port = server.port
        wire = Wire(port)
        experiment = wire.ask("POST", f"{API}/experiments/create", {"name": "killed"})["experiment_id"]
        wire.close()
        over, pipes, processes = context.Event(), [], []
        for number in range(asked.clients):
            ours, theirs = context.Pipe(duplex=False)
            processes.append(context.Process(target=client, args=(number, port, experiment, over, theirs)))
            processes[-1].start()
            pipes.append(ours)
        try:
            for _ in range(asked.kills):
                time.sleep(asked.seconds)
                server.kill()
                server.start(port)
            time.sleep(asked.seconds)
        finally:
            over.set()
        told = [pipe.recv() for pipe in pipes]
        for each in processes:
            each.join()
        server.kill()
        server.start(port)
        try:
            sys.exit(judge(port, told, asked.kills))
        finally:
            server.stop()


def judge(port, told, kills):
    """Compare what is kept with what was promised and sent; print it; return 1 when they disagree."""
    promised = sent = there = lost = twice = strange = 0
    for of_client, sent_by, _ in told:
        for run_id, points in of_client.items():
            found = [point for key in KEYS for point in kept(port, run_id, key)]
            promised, sent, there = promised + len(points), sent + len(sent_by[run_id]), there + len(found)
            lost += len(points - set(found))
            twice += len(found) - len(set(found))
            strange += len(set(found) - sent_by[run_id])
    runs, resent = sum(len(each[0]) for each in told), sum(each[2] for each in told)
    print(f"{kills} kills, {len(told)} clients, {runs} runs, {resent} requests broken off or sent again")
    print(f"{promised} points acknowledged, {there} kept, {lost} lost, {twice} twice, {strange} never sent")
    return 1 if lost or twice or strange or not promised else 0


if __name__ == "__main__":
    main()
