"""Start, watch and end the servers that the benchmarks compare: `mlflow server` and Mainspring's."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil

READY_SECONDS = 120
#: The best shape of mlflow's server known to us: one worker (several share a socket without TCP_NODELAY), no jobs.
BEST = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def free_port():
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server process with all that it started. `kind` is mainspring, mlflow (as it comes) or mlflow-best."""

    def __init__(self, kind, python, folder):
        self.kind, self.python, self.folder = kind, python or sys.executable, folder
        self.port, self.process, self.ready_seconds = 0, None, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self):
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, port=None):
        """Start it, on `port` if given, and wait until it answers; `ready_seconds` is how long that took."""
        self.port = port or free_port()
        log = self.folder / "log"
        environment = os.environ | (BEST if self.kind == "mlflow-best" else {})
        environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        # the webhooks of the scripts point at this machine
        environment |= {"MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true", "MAINSPRING_WEBHOOKS_PRIVATE": "on"}
        begun = time.perf_counter()
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                self._command(), cwd=self.folder, env=environment, stdout=out, stderr=out, start_new_session=True
            )
        while time.perf_counter() - begun < READY_SECONDS:
            if self.process.poll() is not None:
                raise SystemExit(f"{self.kind} ended at once:\n{log.read_text()[-2000:]}")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/health", timeout=2).read()
                self.ready_seconds = time.perf_counter() - begun
                return self
            time.sleep(0.01)
        self.stop()
        raise SystemExit(f"{self.kind} did not answer within {READY_SECONDS} s:\n{log.read_text()[-2000:]}")

    def _command(self):
        words = [self.python, "-m", "mainspring" if self.kind == "mainspring" else "mlflow", "server"]
        words += ["--host", "127.0.0.1", "--port", str(self.port)]
        if self.kind != "mainspring":
            words += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
            words += ["--artifacts-destination", f"{self.folder}/files"]
        return [*words, "--workers", "1"] if self.kind == "mlflow-best" else words

    def kill(self):
        """End it as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """End it and the processes it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def processes(self):
        """Return the live processes of the server."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def cpu_seconds(self):
        """Return the CPU time of all its processes so far."""
        total = 0.0
        for each in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = each.cpu_times()
                total += times.user + times.system
        return total

    def memory_bytes(self):
        """Return what its processes hold: resident pages, each shared page counted once by its share (PSS)."""
        total = 0
        for each in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += each.memory_full_info().pss
        return total
