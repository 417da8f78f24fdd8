"""The prediction server's process: words to options, parts to a server, and an orderly end.

It ends at SIGTERM or SIGINT, or with its parent when it was told to: requests under way are answered, shadows are
finished, the journal is closed. `process` starts it from another process.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import msgspec
import uvicorn

from mainspring.bundle.format import read_manifest
from mainspring.domain.moments import SystemClock
from mainspring.errors import Invalid, MainspringError, Unavailable, outcome_of
from mainspring.predictions.journal import JournalWriter
from mainspring.serve.app import PredictionApp
from mainspring.serve.endpoint import Endpoints
from mainspring.serve.lane import Lane, lane_protocol, sweep
from mainspring.serve.metrics import ServerMetrics
from mainspring.serve.process import ReadyFile
from mainspring.serve.routes import Route, RouteTable
from mainspring.serve.service import PredictionService

__all__ = ["Options", "listening_socket", "main", "options_of"]

_JOURNAL_NAME = "predictions"
_BODY_LIMIT = 16 << 20
#: An idle client is kept this long. Behind most proxies' minute, so that they hang up first and lose no request.
_KEEP_ALIVE_SECONDS = 75
_GRACE_SECONDS = 20
_STARTED_POLL_SECONDS = 0.005
_PARENT_POLL_SECONDS = 0.5
_SWEEP_SECONDS = 1.0


class Options(NamedTuple):
    """What the process was started with."""

    journals: Path
    endpoints: Path | None
    bundles: tuple[Path, ...]
    host: str
    port: int
    ready_file: Path | None
    exit_with_parent: bool
    rotate_bytes: int
    body_limit: int
    longest_wait_seconds: float
    answer_unlogged: bool


def main(arguments: Sequence[str]) -> int:
    """Run a prediction server until it is told to end; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(options_of(arguments)))
    except MainspringError as error:
        print(f"mainspring serve: {error}", file=sys.stderr)
        return outcome_of(error).exit_code


def options_of(arguments: Sequence[str]) -> Options:
    """Read the command line.

    Raises:
        Invalid: there is nothing to serve, or the host is not this machine.
    """
    parser = argparse.ArgumentParser(prog="python -m mainspring.serve", description="Answer for models over HTTP.")
    parser.add_argument("bundles", nargs="*", type=Path, help="bundle folders to serve as they are")
    parser.add_argument("--endpoints", type=Path, help="folder of route files to follow")
    parser.add_argument("--journals", type=Path, required=True, help="folder to write answers to")
    parser.add_argument("--host", default="127.0.0.1", help="address of this machine to listen at")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--ready-file", type=Path, help="written, with pid, port and url, when the server answers")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when standard input closes")
    parser.add_argument("--rotate-bytes", type=int, default=64 << 20, help="size of a finished journal")
    parser.add_argument("--body-limit", type=int, default=_BODY_LIMIT, help="largest request body in bytes")
    parser.add_argument("--longest-wait", type=float, default=5.0, help="seconds in the queue that are refused")
    parser.add_argument("--answer-unlogged", action="store_true", help="answer even when the journal cannot be written")
    given = parser.parse_args(arguments)
    options = Options(
        journals=given.journals,
        endpoints=given.endpoints,
        bundles=tuple(given.bundles),
        host=given.host,
        port=given.port,
        ready_file=given.ready_file,
        exit_with_parent=given.exit_with_parent,
        rotate_bytes=given.rotate_bytes,
        body_limit=given.body_limit,
        longest_wait_seconds=given.longest_wait,
        answer_unlogged=given.answer_unlogged,
    )
    if options.endpoints is None and not options.bundles:
        raise Invalid("There is nothing to serve", next_step="give bundle folders, or --endpoints with route files")
    return options


def listening_socket(host: str, port: int, *, is_guarded: bool = False) -> socket.socket:
    """Return a socket that listens on this machine alone, or anywhere when logins guard it; port 0 takes a free one.

    Raises:
        Invalid: the host is reachable from outside, and nobody would ask who asks.
        Unavailable: the port is taken.
    """
    if host == "localhost":
        host = "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise Invalid(f"`{host}` is not an address", where="--host", next_step="use 127.0.0.1 or ::1") from error
    if not address.is_loopback and not is_guarded:
        raise Invalid(
            f"The server would listen on {host}, where anybody could ask it",
            where="--host",
            next_step="use 127.0.0.1, and put a proxy with authentication before it",
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it. Without, a small answer can wait 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"Port {port} cannot be taken: {error.strerror}", where=host, next_step="use another --port, or 0"
        ) from error
    return listener


async def _serve(options: Options) -> int:
    listener = listening_socket(options.host, options.port)
    metrics = ServerMetrics()
    endpoints = Endpoints(options.endpoints, metrics, [_fixed_table(folder) for folder in options.bundles])
    with JournalWriter(options.journals, name=_JOURNAL_NAME, rotate_bytes=options.rotate_bytes) as journal:
        service = PredictionService(
            endpoints,
            journal,
            metrics,
            SystemClock(),
            longest_wait_seconds=options.longest_wait_seconds,
            answer_unlogged=options.answer_unlogged,
        )
        version = metadata.version("mainspring")
        app = PredictionApp(service, endpoints, metrics, version=version, body_limit=options.body_limit)
        lane = Lane(service, app.prediction_paths.find, body_limit=options.body_limit, idle_seconds=_KEEP_ALIVE_SECONDS)
        config = uvicorn.Config(
            app,
            http=lane_protocol(lane),
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        server = uvicorn.Server(config)
        _end_at_signals(server)
        if options.exit_with_parent:
            _end_with_parent(server)
        following = asyncio.create_task(_follow(endpoints, server, listener, options.ready_file))
        sweeping = asyncio.create_task(_sweep(server, lane))
        try:
            await server.serve([listener])
        finally:
            following.cancel()
            sweeping.cancel()
            await asyncio.wait([following, sweeping])
            endpoints.close()
            await service.close()
            listener.close()
    with contextlib.suppress(asyncio.CancelledError):
        following.result()  # why it ended by itself, if it did
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # compiled, and not to be had on every system
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _follow(
    endpoints: Endpoints, server: uvicorn.Server, listener: socket.socket, ready_file: Path | None
) -> None:
    """Load what there is, say that the server is ready, and follow the routes from then on."""
    try:
        await endpoints.load_fixed()
        await endpoints.look()
    except BaseException:
        server.should_exit = True
        raise
    while not server.started and not server.should_exit:
        await asyncio.sleep(_STARTED_POLL_SECONDS)  # uvicorn has no event for it
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    logging.getLogger(__name__).info("serving at %s", url)
    if ready_file is not None:
        building = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        building.write_bytes(msgspec.json.encode(ReadyFile(os.getpid(), port, url)))
        building.replace(ready_file)
    await endpoints.follow()


async def _sweep(server: uvicorn.Server, lane: Lane) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        sweep(server.server_state, lane)


def _fixed_table(folder: Path) -> RouteTable:
    manifest = read_manifest(folder)
    return RouteTable(manifest.name, 1, (Route(1, str(folder.absolute()), "champion", 100.0),))


def _end_at_signals(server: uvicorn.Server) -> None:
    # uvicorn takes these over while it serves and raises them once more behind it; then and before, they land here.
    def end(number: int, frame: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def _end_with_parent(server: uvicorn.Server) -> None:
    """End when standard input closes, which the kernel does when the parent dies in any way.

    A sibling may have inherited the other end and keep it open, so the parent's id is watched too.
    """
    parent = os.getppid()
    gone = threading.Event()

    def read_to_end() -> None:
        with contextlib.suppress(OSError):  # closed from the start: nobody holds the other end
            while os.read(0, 4096):
                pass
        gone.set()

    def watch() -> None:
        while not gone.wait(_PARENT_POLL_SECONDS) and os.getppid() == parent:
            pass
        server.should_exit = True
        # This thread dies with the process. Where the process hangs, nobody is left who could end it.
        time.sleep(2 * _GRACE_SECONDS)
        os._exit(outcome_of(Unavailable("")).exit_code)

    for target in (read_to_end, watch):
        threading.Thread(target=target, daemon=True).start()
