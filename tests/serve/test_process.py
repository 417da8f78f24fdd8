"""The server as a process: crashes lose nothing that was answered, and no server outlives its parent."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from mainspring.domain.ids import new_id
from mainspring.errors import Invalid, MainspringError, Unavailable
from mainspring.predictions.journal import journals
from mainspring.serve.client import PredictionClient
from mainspring.serve.listening import listening_sockets
from mainspring.serve.options import options_of
from mainspring.serve.process import ServerProcess

Eventually = Callable[[Callable[[], Any]], Any]

PARENT = """
import sys
from pathlib import Path
from mainspring.serve.process import ServerProcess
server = ServerProcess.start(Path(sys.argv[1]), Path(sys.argv[2]))
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_the_next_server_sweeps_the_folder_of_one_whose_parent_was_killed(
    site: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site.route((1, "champion", 100.0))
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.setenv("TMPDIR", str(files))
    monkeypatch.setattr(tempfile, "tempdir", None)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(site.endpoints), str(site.journals)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    server = int(parent.stdout.readline())
    with site.start() as beside:
        assert len(list(files.iterdir())) == 2, "that of a parent at work stays"
        parent.kill()
        parent.communicate()
        eventually(lambda: not psutil.pid_exists(server))
        with site.start():
            assert len(list(files.iterdir())) == 2, "that of the killed one is swept"
        assert beside.is_alive
    assert list(files.iterdir()) == []


def test_a_clock_that_cannot_be_read_is_no_fault_of_the_client(site: Any, flight: dict[str, object]) -> None:
    site.route((1, "champion", 100.0))
    clock = site.journals.with_name("clock")
    clock.write_text("2013-04-01T06:00:00Z")
    with (
        ServerProcess.start(site.endpoints, site.journals, clock=clock) as server,
        PredictionClient(server.url) as client,
    ):
        clock.write_text("2013-04-01T")
        with pytest.raises(Unavailable, match="The clock cannot be read"):
            client.predict("late-flights", [flight])
        with pytest.raises(Unavailable, match="The clock cannot be read"):
            client.feedback("late-flights", [(new_id(), "late")])
        with pytest.raises(Invalid, match="distance"):  # what is the client's fault is told as before
            client.predict("late-flights", [{**flight, "distance": "far"}])
        clock.write_text("2013-04-02T06:00:00Z")
        client.predict("late-flights", [flight])
    (record,) = site.records()
    assert record.received_at == "2013-04-02T06:00:00.000000Z"


@pytest.mark.parametrize("after", [1, 37, 150])
def test_every_answer_is_in_the_journal_once_after_a_kill(site: Any, flight: dict[str, object], after: int) -> None:
    site.route((1, "champion", 100.0))
    answered: list[str] = []
    lock, enough = threading.Lock(), threading.Event()

    def ask(url: str) -> None:
        with PredictionClient(url) as client:
            while True:
                try:
                    answer = client.predict("late-flights", [flight, flight])
                except MainspringError:
                    return
                with lock:
                    answered.extend(each.id for each in answer.predictions)
                    if len(answered) >= 2 * after:
                        enough.set()

    server = site.start("--rotate-bytes", "20000")
    asking = [threading.Thread(target=ask, args=(server.url,)) for _ in range(3)]
    for thread in asking:
        thread.start()
    assert enough.wait(60)
    server.kill()
    for thread in asking:
        thread.join()
    assert all(each.ended for each in journals(site.journals))
    recorded = Counter(identifier for each in site.records() for identifier in each.ids)
    assert set(answered) <= set(recorded)
    assert set(recorded.values()) == {1}
    # At most what was under way at that moment was written and not answered.
    assert len(recorded) - len(answered) <= 2 * len(asking)


def test_a_full_disk_withholds_the_answer_and_the_server_goes_on(site: Any, flight: dict[str, object]) -> None:
    site.route((1, "champion", 100.0))
    with site.start() as server, PredictionClient(server.url) as client:
        before = client.predict("late-flights", [flight])
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (700, hard))
        for _ in range(3):
            with pytest.raises(Unavailable, match="journal cannot be written"):
                client.predict("late-flights", [flight] * 10)
        with pytest.raises(Unavailable, match="journal cannot be written"):
            client.feedback("late-flights", [(new_id(), "late") for _ in range(20)])
        assert 'prediction_log_dropped_total{model="late-flights"} 4' in client.metrics()
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
        after = client.predict("late-flights", [flight])
    first, *lost, last = site.records()
    assert (first.ids[0], last.ids[0]) == (before.predictions[0].id, after.predictions[0].id)
    # a few bytes fit where a request does not, so the losses may be told one by one
    assert {each.model for each in lost} == {"late-flights"}
    assert (sum(each.requests for each in lost), sum(each.rows for each in lost)) == (3, 30)
    assert "journal cannot be written" in lost[0].reason


def test_refused_requests_are_counted_in_the_journal_by_the_minute(site: Any, flight: dict[str, object]) -> None:
    site.route((1, "champion", 100.0))
    with site.start() as server, PredictionClient(server.url) as client:
        client.predict("late-flights", [flight])
        for _ in range(3):
            with pytest.raises(Invalid):
                client.predict("late-flights", [{"no": "column"}])
        with pytest.raises(MainspringError):
            client.predict("unknown", [flight])
    told = site.refusals()
    assert sum(each.refused for each in told) == 3  # told at the next minute, or at the end
    assert {(each.model, each.failed) for each in told} == {("late-flights", 0)}


def test_a_503_says_when_to_come_back(site: Any, flight: dict[str, object]) -> None:
    site.route((1, "champion", 100.0))
    with site.start() as server, PredictionClient(server.url) as client:
        client.predict("late-flights", [flight])
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1, hard))
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as raw:
            body = json.dumps([flight]).encode()
            raw.sendall(
                b"POST /models/late-flights/predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                b"content-length: %d\r\n\r\n%s" % (len(body), body)
            )
            answer = b"".join(iter(lambda: raw.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in answer.lower()


def test_an_orderly_end_answers_what_is_under_way_and_closes_the_journal(
    site: Any, flight: dict[str, object], eventually: Eventually
) -> None:
    site.route((1, "champion", 100.0))
    server = site.start()
    body = json.dumps([flight] * 9000).encode()
    head = b"POST /models/late-flights/predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    answers: list[int] = []

    def read(raw: socket.socket) -> None:
        with raw:
            answer = b"".join(iter(lambda: raw.recv(1 << 16), b""))
        answers.append(len(json.loads(answer.partition(b"\r\n\r\n")[2])["predictions"]))

    asking = []
    for _ in range(3):  # all are sent before the end begins, however slow this machine is
        raw = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
        raw.sendall(head % len(body) + body)
        asking.append(threading.Thread(target=read, args=(raw,)))
        asking[-1].start()
    with PredictionClient(server.url) as client:
        eventually(lambda: 'status="200"} ' in client.metrics())
    server.stop()
    for thread in asking:
        thread.join()
    assert answers == [9000] * 3
    assert sum(len(each.ids) for each in site.records()) == 27_000


def test_the_process_ends_well_when_it_is_told_to(site: Any) -> None:
    with site.start() as server:
        child = psutil.Process(server.pid)
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_server_outlives_its_parent(site: Any, number: int, eventually: Eventually) -> None:
    site.route((1, "champion", 100.0))
    command = [sys.executable, "-c", PARENT, str(site.endpoints), str(site.journals)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        server = psutil.Process(pid)
        assert server.is_running()
        parent.send_signal(number)
        parent.wait()
        eventually(lambda: not psutil.pid_exists(pid) or server.status() == psutil.STATUS_ZOMBIE)


def test_a_server_that_cannot_start_says_why(site: Any, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="is not a bundle"):
        ServerProcess.start(None, site.journals, bundles=[tmp_path])
    with pytest.raises(Unavailable, match="would listen on"):
        site.start("--host", "0.0.0.0")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable, match="cannot be taken"):
        ServerProcess.start(site.endpoints, site.journals, port=taken.getsockname()[1])
    assert list(tmp_path.glob("*.json")) == []


def test_the_host_must_be_this_machine() -> None:
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
        with pytest.raises(Invalid):
            listening_sockets(host, 0)
    for host in ("127.0.0.1", "localhost", "127.0.0.2"):
        with listening_sockets(host, 0)[0] as listener:
            assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_a_server_with_nothing_to_serve_is_refused() -> None:
    with pytest.raises(Invalid, match="nothing to serve"):
        options_of(["--journals", "j"])


def test_the_ready_file_says_where_the_server_is(site: Any, tmp_path: Path, flight: dict[str, object]) -> None:
    ready = tmp_path / "ready.json"
    site.route((1, "champion", 100.0))
    command = [sys.executable, "-m", "mainspring.serve", "--endpoints", site.endpoints, "--journals", site.journals]
    command += ["--port", "0", "--ready-file", ready]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL) as child:
        try:
            while not ready.exists():
                assert child.poll() is None
                os.sched_yield()
            told = json.loads(ready.read_text())
            assert told["pid"] == child.pid
            assert told["url"] == f"http://127.0.0.1:{told['port']}"
            with PredictionClient(told["url"]) as client:
                assert client.predict("late-flights", [flight]).version == 1
        finally:
            child.terminate()
        assert child.wait(30) == 0
