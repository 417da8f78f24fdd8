"""A client that costs nearly nothing: bytes made beforehand, one keep-alive socket, TCP_NODELAY, no HTTP library.

Against a fast server an HTTP library would be most of what is measured. The same bytes go to every server.
"""

import json
import multiprocessing
import socket
import time

API = "/api/2.0/mlflow"


class Wire:
    """One connection."""

    def __init__(self, port, timeout=120):
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def close(self):
        """Close the connection."""
        self.socket.close()

    def send(self, request):
        """Send one request's bytes; return the status and the body of the answer."""
        self.socket.sendall(request)
        held = self.rest
        while (end := held.find(b"\r\n\r\n")) < 0:
            held += self._more()
        head, held = held[:end].lower(), held[end + 4 :]
        status = int(head[9:12])
        if b"transfer-encoding: chunked" in head:
            return status, self._chunked(held)
        at = head.find(b"content-length:")
        length = int(head[at + 15 : head.find(b"\r", at) if head.find(b"\r", at) > 0 else None]) if at >= 0 else 0
        parts, size = [held], len(held)
        while size < length:
            parts.append(self._more())
            size += len(parts[-1])
        held = b"".join(parts)
        self.rest = held[length:]
        return status, held[:length]

    def _more(self):
        more = self.socket.recv(1 << 20)
        if not more:
            raise ConnectionError("the server closed the connection")
        return more

    def _chunked(self, held):
        parts = []
        while True:
            while (end := held.find(b"\r\n")) < 0:
                held += self._more()
            size, held = int(held[:end], 16), held[end + 2 :]
            while len(held) < size + 2:
                held += self._more()
            parts.append(held[:size])
            held = held[size + 2 :]
            if size == 0:
                self.rest = held
                return b"".join(parts)

    def ask(self, method, path, body=None):
        """Send one request; return the answer's JSON.

        Raises:
            RuntimeError: the status is not 200.
        """
        status, answer = self.send(request(method, path, body))
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {answer[:300]!r}")
        return json.loads(answer) if answer else {}


def request(method, path, body=None):
    """Return a request's bytes."""
    content = b"" if body is None else json.dumps(body).encode()
    words = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{words}Content-Length: {len(content)}\r\n\r\n".encode() + content


def create_run(wire, experiment):
    """Create a run; return its id."""
    body = {
        "experiment_id": experiment,
        "start_time": 1,
        "run_name": "a run",
        "tags": [{"key": "mlflow.user", "value": "u"}],
    }
    return wire.ask("POST", f"{API}/runs/create", body)["run"]["info"]["run_id"]


def _requests(what, wire, experiment, count):
    """Yield `count` requests of one kind; what they need beforehand is made first."""
    if what == "create run":
        body = {
            "experiment_id": experiment,
            "start_time": 1,
            "run_name": "a run",
            "tags": [{"key": "mlflow.user", "value": "u"}],
        }
        return [request("POST", f"{API}/runs/create", body)] * count
    if what == "health":
        return [request("GET", "/health")] * count
    run_id = create_run(wire, experiment)
    if what == "log metric":
        one = {"run_id": run_id, "key": "loss", "value": 0.5, "timestamp": 1}
        return [request("POST", f"{API}/runs/log-metric", one | {"step": step}) for step in range(count)]
    metrics = [
        [{"key": f"m{each % 10}", "value": each / 7, "timestamp": turn, "step": each // 10} for each in range(1000)]
        for turn in range(count)
    ]
    return [request("POST", f"{API}/runs/log-batch", {"run_id": run_id, "metrics": some}) for some in metrics]


def _client(port, what, experiment, count, barrier, pipe):
    wire = Wire(port)
    prepared = _requests(what, wire, experiment, count)
    barrier.wait()
    times = []
    for each in prepared:
        begun = time.perf_counter()
        status, answer = wire.send(each)
        times.append(time.perf_counter() - begun)
        if status != 200:
            pipe.send(f"{what}: {status} {answer[:300]!r}")
            return
    pipe.send(times)


def throughput(server, what, experiment, clients, count):
    """Send `count` requests from each of `clients` processes; return requests a second, their CPU seconds, times."""
    context = multiprocessing.get_context("fork")
    barrier, pipes, started = context.Barrier(clients + 1), [], []
    for _ in range(clients):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_client, args=(server.port, what, experiment, count, barrier, theirs))
        process.start()
        pipes.append(ours)
        started.append(process)
    barrier.wait(120)
    cpu, begun = server.cpu_seconds(), time.perf_counter()
    told = [pipe.recv() for pipe in pipes]
    wall, cpu = time.perf_counter() - begun, server.cpu_seconds() - cpu
    for process in started:
        process.join()
    for each in told:
        if isinstance(each, str):
            raise RuntimeError(each)
    times = sorted(time_ for each in told for time_ in each)
    done = clients * count
    return {"a second": done / wall, "cpu ms": 1000 * cpu / done, "p50 ms": 1000 * times[len(times) // 2]}
